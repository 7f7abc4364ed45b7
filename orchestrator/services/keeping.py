"""Keeping: the copies of one service are there, and there is never one too many.

A turn looks at what the store has and does the next step: begins a life, asks one to leave, stops
one that is not heard or has lived for long enough. What it knows by itself are moments alone, so
another orchestrator, or the next process, goes on from the store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import structlog

from connectors.services import ServicePlan
from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.keeping import LIFE_OVER, LOOP
from orchestrator.domain.states import RunState, TriggerState
from orchestrator.failpoints import reach
from orchestrator.services.definitions import Definition
from orchestrator.services.scaling import Scaling
from orchestrator.services.standing import EXPECTED, Standing
from orchestrator.store.copies import Copies, Copy, OpenRun
from orchestrator.store.sources import Source, Sources

_log = structlog.get_logger(__name__)

_LOOK = 1.0  # seconds between two looks while there is something to watch
_IDLE = 10.0
_PACE = 0.1  # of anybody's runs there may be thousands a second
_SETTLED = 5 * SECOND  # a task without heartbeats is well once it has run for so long
SCALED_DOWN = "scaled down"


class Keeper:
    """Keeps one service alive. One thread at a time calls `turn`; the rest may be called by any."""

    reports = False

    def __init__(
        self,
        row: Source,
        definition: Definition,
        plan: ServicePlan,
        copies: Copies,
        sources: Sources,
        scaling: Scaling | None,
        clock: Clock,
    ) -> None:
        self.row = row
        self._definition = definition
        self._plan = plan
        self._copies = copies
        self._scaling = scaling
        self._clock = clock
        self._standing = Standing(row, sources)
        # Of an attempt: what was heard of it last, and since when nothing else (monotonic).
        self._heard: dict[tuple[str, int], tuple[int | None, float]] = {}
        self._failures: dict[str, int] = {}
        self._looked = 0.0

    # -- for any thread ---------------------------------------------------------------------

    def fits(self, row: Source) -> bool:
        """Whether this one can go on for a trigger as it is now."""
        return row.definition == self.row.definition and row.kind == self.row.kind

    def tell(self, row: Source) -> None:
        """The trigger was paused or resumed."""
        self.row = row

    def stop(self) -> None:
        """A turn waits for nothing."""

    def stir(self) -> bool:
        """Runs have changed: look at once, unless that was done a moment ago."""
        return self._clock.monotonic() - self._looked >= _PACE

    @property
    def lag(self) -> Mapping[str, int]:
        """A service has no events."""
        return {}

    def lost(self, partition: str, start: str) -> str | None:
        """Nor can it lose any."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    # -- a turn -----------------------------------------------------------------------------

    def turn(self) -> float:
        """Do what there is to do; returns after how many seconds there may be more."""
        try:
            pause = self._turn()
        except EXPECTED as error:
            return self._standing.failed(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the copies are tended again
            return self._standing.failed(error)
        self._standing.well()
        return pause

    def _turn(self) -> float:
        self._looked = self._clock.monotonic()
        uid, active = self.row.trigger_uid, self.row.trigger_state is TriggerState.ACTIVE
        copies = self._copies.all(uid)
        if active:
            count = self._count(copies)
            if {copy.name for copy in copies if copy.wanted} != set(map(str, range(count))):
                self._copies.want(uid, count)
                copies = self._copies.all(uid)
        open_runs: dict[str, list[OpenRun]] = defaultdict(list)
        for run in self._copies.open(uid):
            open_runs[run.copy].append(run)
        again = _LOOK if open_runs or self._plan.scale is not None else _IDLE
        self._forget(open_runs)
        for copy in copies:
            self._note(copy)
            for run in open_runs[copy.name]:
                self._watch(copy, run)
            if active:
                again = min(again, self._tend(copy, open_runs[copy.name]))
        return again

    def _count(self, copies: Sequence[Copy]) -> int:
        if self._scaling is None:
            return self._plan.copies
        return self._scaling.count(sum(copy.wanted for copy in copies))

    def _note(self, copy: Copy) -> None:
        """Say when a copy fails again and again."""
        if copy.failures >= LOOP and copy.failures != self._failures.get(copy.name):
            _log.warning(
                "crash loop",
                trigger=self.row.trigger,
                copy=copy.name,
                failures=copy.failures,
                reason=copy.reason,
            )
        self._failures[copy.name] = copy.failures

    # -- lives under way --------------------------------------------------------------------

    def _forget(self, open_runs: Mapping[str, Sequence[OpenRun]]) -> None:
        known = {(run.run_id, run.attempt) for runs in open_runs.values() for run in runs}
        self._heard = {key: value for key, value in self._heard.items() if key in known}

    def _watch(self, copy: Copy, run: OpenRun) -> None:
        """Stop a life that is not heard, or that has lasted for as long as it may."""
        if run.leaves or not run.runs:
            return
        now, ticks = self._clock.now(), self._clock.monotonic()
        key = (run.run_id, run.attempt)
        counts = copy.run_id == run.run_id and copy.attempt == run.attempt
        heard = copy.heartbeat_at if counts else None
        before = self._heard.get(key)
        if before is None or before[0] != heard:
            before = self._heard[key] = (heard, ticks)
        if now - (run.running_at or now) >= run.life_us + (run.grace_us or 0):
            self._end(run, LIFE_OVER, None)
            return
        lease = run.lease_us or (self._plan.lease if self._plan.heartbeat else 0)
        # By our own clock, from when we saw it: later than it was sent, whatever is set meanwhile.
        if lease and ticks - before[1] >= lease / SECOND:
            self._end(run, f"no heartbeat for {lease / SECOND:g} s", heard or 0)

    def _end(self, run: OpenRun, reason: str, unless_heard_since: int | None) -> None:
        if self._copies.stop(run, reason, unless_heard_since=unless_heard_since):
            _log.info(
                "life ends",
                trigger=self.row.trigger,
                copy=run.copy,
                run=run.run_id,
                reason=reason,
            )

    # -- the copy itself --------------------------------------------------------------------

    def _tend(self, copy: Copy, runs: Sequence[OpenRun]) -> float:
        """Bring a copy nearer to what is wanted; returns after how many seconds to look again."""
        if not copy.wanted:
            self._leave(runs, SCALED_DOWN)
            return _LOOK
        version = self.row.version
        current = [run for run in runs if run.version == version]
        old = [run for run in runs if run.version != version]
        if current:
            if old and self._well(copy, current[-1]):
                self._leave(old, f"replaced by version {version}")
            return _LOOK
        if old:
            stays = self._staying(copy, old)
            self._leave([run for run in old if run is not stays], f"version {version} is wanted")
            # Beside one alone, and beside none that leaves for another reason.
            if stays is None or len(old) > 1 or stays.leaves:
                return _LOOK
        # What made the version before fail may be mended.
        rests = copy.next_at if copy.version == version else 0
        wait = max(copy.hold_until, rests) - self._clock.now()
        if wait > 0:
            return min(_IDLE, wait / SECOND)
        self._begin(copy, runs)
        return _LOOK

    def _staying(self, copy: Copy, old: Sequence[OpenRun]) -> OpenRun | None:
        """The life that goes on until the new one is well, if there is to be one."""
        if self._plan.update == "stop_first":
            return None
        working = [run for run in old if run.state is not RunState.PENDING]
        leading = [run for run in working if run.run_id == copy.run_id]
        return (leading or working or [None])[0]

    def _well(self, copy: Copy, run: OpenRun) -> bool:
        if not run.runs:
            return False
        if self._plan.heartbeat is not None:
            return copy.run_id == run.run_id
        return self._clock.now() - (run.running_at or 0) >= _SETTLED

    def _leave(self, runs: Sequence[OpenRun], reason: str) -> None:
        ids = [run.run_id for run in runs if run.cancel is None]
        if ids and self._copies.leave(ids, reason):
            reach("service.leaving")
            _log.info("copies leave", trigger=self.row.trigger, runs=ids, reason=reason)

    def _begin(self, copy: Copy, runs: Sequence[OpenRun]) -> None:
        reach("service.before")
        run_id = self._copies.begin(
            self.row,
            copy,
            beside=len(runs),
            life_us=self._plan.life,
            priority=self._definition.policies.priority,
        )
        reach("service.after")
        if run_id is not None:
            beside = {"beside": runs[0].run_id} if runs else {}
            _log.info(
                "life begins",
                trigger=self.row.trigger,
                copy=copy.name,
                run=run_id,
                version=self.row.version,
                **beside,
            )
