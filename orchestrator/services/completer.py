"""Completer: an attempt has ended; its run succeeds, tries again, or is given up."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog

from orchestrator import metrics
from orchestrator.domain.clock import Clock, to_rfc3339
from orchestrator.domain.outcome import EXIT_LOST, LOST
from orchestrator.domain.partial import BadList, failed_places
from orchestrator.domain.retry import GiveUp, after_failure
from orchestrator.domain.signals import Signals, Topic
from orchestrator.domain.states import ENDED, AttemptState, RunState
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.services.lifeends import decide_life
from orchestrator.services.loop import Service
from orchestrator.services.serving import Plans
from orchestrator.store.endings import Endings, Settlement, Unsettled
from orchestrator.store.outbox import Callback
from orchestrator.store.own import CALLBACK, shown_values
from orchestrator.store.telling import Verdict
from orchestrator.store.values import Attempt, Run

_log = structlog.get_logger(__name__)
_BATCH = 500

_EVENTS = {
    RunState.SUCCEEDED: "on_success",
    RunState.DEAD: "on_failure",
    RunState.CANCELLED: "on_abort",
}


_KEPT = (
    "some of its events have failed, and cannot go back to their source: it was told of them "
    "already, takes nothing back, or they are none of this run's"
)


@dataclass(frozen=True, kw_only=True)
class Partial:
    """Events of a run that failed although its task succeeded: half-open ranges of their places, or
    why that cannot be."""

    failed: Sequence[tuple[int, int]] = ()
    problem: str = ""


class Completer(Service):
    """Moves the runs of ended attempts."""

    name: ClassVar[str] = "completer"
    topics: ClassVar[Sequence[Topic]] = (Topic.ENDED,)

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        endings: Endings,
        definitions: Definitions,
        jitter: Callable[[], float] = random.random,
        plans: Plans | None = None,
    ) -> None:
        super().__init__(clock, signals)
        self._endings = endings
        self._definitions = definitions
        self._jitter = jitter
        self._plans = plans or Plans({})

    def run_once(self) -> int | None:
        """Settle everything that has ended."""
        while not self.stopping:
            unsettled = self._endings.unsettled(_BATCH)
            if not unsettled:
                break
            definitions = self._definitions.get_many([u.run.definition for u in unsettled])
            now = self._clock.now()
            settlements = [self._decide(u, definitions[u.run.definition], now) for u in unsettled]
            settled = self._endings.settle(settlements)
            for settlement in settlements:
                _report(settlement)
                _count(settlement, definitions[settlement.unsettled.run.definition].kind)
            for run in settled.tripped:
                _log.error("trigger tripped and paused", trigger=run.trigger_name, run=run.id)
        self._endings.finish_deletions()
        return None

    def _decide(self, unsettled: Unsettled, definition: Definition, now: int) -> Settlement:
        if definition.service:
            return self._life(unsettled, definition, now)
        partial = Partial()
        attempt = unsettled.attempt
        if definition.queue and attempt is not None and attempt.state is AttemptState.SUCCEEDED:
            partial = self._partial(unsettled.run, attempt)
        return decide(unsettled, definition, now, self._jitter, partial)

    def _life(self, unsettled: Unsettled, definition: Definition, now: int) -> Settlement:
        run, attempt = unsettled.run, unsettled.attempt

        def callbacks(state: RunState, reason: str) -> list[Callback]:
            return _callbacks(definition, run, attempt, state, reason, now)

        pause = self._plans.pause(definition)
        return decide_life(unsettled, pause, now, self._jitter, callbacks)

    def _partial(self, run: Run, attempt: Attempt) -> Partial:
        """What the task says of events that have failed: lost, where they cannot go back."""
        try:
            failed = [*failed_places(attempt.stdout)]
        except BadList as error:
            return Partial(problem=str(error))
        if attempt.failed:  # in its result
            failed += [(first, end) for first, end in json.loads(attempt.failed)]
        if failed and not self._endings.can_go_back(run.id, failed):
            return Partial(problem=_KEPT)
        return Partial(failed=failed)


def decide(
    unsettled: Unsettled,
    definition: Definition,
    now: int,
    jitter: Callable[[], float],
    partial: Partial | None = None,
) -> Settlement:
    """Where the run of an ended attempt goes. Pure."""
    run, attempt = unsettled.run, unsettled.attempt
    partial = partial or Partial()

    def ends(state: RunState, reason: str, tries: int, *, released: bool = False) -> Settlement:
        events = Verdict(state=state, failed=partial.failed) if definition.queue else None
        return Settlement(
            blocks=definition.blocks,
            released=released or (state is RunState.DEAD and _skips(definition)),
            unsettled=unsettled,
            state=state,
            reason=reason,
            tries=tries,
            room=definition.room_in(run.partition),
            rate=definition.policies.rate,
            verdict=events,
            trip_after=definition.policies.trip_after,
            callbacks=_callbacks(definition, run, attempt, state, reason, now),
        )

    if attempt is None:
        return ends(RunState.CANCELLED, run.cancel or "", run.tries)
    tries = run.tries + (1 if attempt.counted else 0)
    if attempt.state is AttemptState.SUCCEEDED:
        if partial.problem:
            return ends(RunState.DEAD, partial.problem, tries)
        return ends(RunState.SUCCEEDED, "", tries)
    if run.cancel is not None:
        return ends(RunState.CANCELLED, run.cancel, tries)
    if attempt.exit_code == EXIT_LOST and definition.stream:
        goes_on = definition.settings.get("on_lost") == "continue"
        return ends(RunState.DEAD, _lost(attempt), tries, released=goes_on)
    follows = after_failure(
        definition.retry,
        tries=tries,
        counted=attempt.counted,
        retryable=attempt.retryable,
        born=max(run.due_at, run.created_at),
        now=now,
        hold_until=attempt.hold_until,
        jitter=jitter,
    )
    if isinstance(follows, GiveUp):
        reason = f"{attempt.reason} ({follows.why})" if follows.why else attempt.reason
        return ends(RunState.DEAD, reason, tries)
    return Settlement(
        unsettled=unsettled,
        state=RunState.PENDING,
        reason=attempt.reason,
        not_before=follows.not_before,
        tries=tries,
    )


def _skips(definition: Definition) -> bool:
    return definition.stream and definition.policies.on_dead == "skip"


def _lost(attempt: Attempt) -> str:
    if attempt.reason.startswith(LOST):
        return attempt.reason
    return f"{LOST}: the task found that its start is gone from the source (exit {EXIT_LOST})"


def _callbacks(
    definition: Definition,
    run: Run,
    attempt: Attempt | None,
    state: RunState,
    reason: str,
    now: int,
) -> list[Callback]:
    """Who is told of a run's end. Of one that is to be halved nobody yet: see `tending`."""
    if state is RunState.DEAD and definition.stream and definition.policies.on_dead == "bisect":
        return []
    event, said = _EVENTS[state], told(run, attempt, state, reason, now)
    found = callbacks_of(definition, event, said)
    if CALLBACK in run.data:
        found.append(own_callback(run.data[CALLBACK], event, said))
    return found


def told(
    run: Run, attempt: Attempt | None, state: RunState, reason: str, now: int
) -> dict[str, Any]:
    """What callbacks say of a run's end. `output` is what the node keeps of its last attempt."""
    output: dict[str, Any] | None = None
    if attempt is not None:
        output = {
            "exit_code": attempt.exit_code,
            "stdout": attempt.stdout,
            "stderr": attempt.stderr,
        }
    return {
        "run": run.id,
        "trigger": run.trigger_name,
        "key": run.key,
        "state": state,
        "reason": reason,
        "attempts": run.attempts,
        "created_at": to_rfc3339(run.created_at),
        "due_at": to_rfc3339(run.due_at),
        "started_at": None if run.started_at is None else to_rfc3339(run.started_at),
        "ended_at": to_rfc3339(now),
        "output": output,
        "values": shown_values(run.data),
    }


def callbacks_of(definition: Definition, event: str, said: Mapping[str, Any]) -> list[Callback]:
    """The callbacks that a trigger wants of an event, with what they say."""
    return [
        Callback(
            event=event,
            target={"url": t.url} if t.url else {"trigger": t.trigger},
            payload={"event": event, **said},
        )
        for t in getattr(definition.policies, event)
    ]


def own_callback(url: str, event: str, said: Mapping[str, Any]) -> Callback:
    """The callback that a single run has asked for."""
    return Callback(event=event, target={"url": url}, payload={"event": event, **said})


def _count(settlement: Settlement, kind: str) -> None:
    attempt = settlement.unsettled.attempt
    if attempt is not None:
        metrics.attempts_ended.labels(attempt.state).inc()
    if settlement.state in ENDED:
        metrics.runs_ended.labels(kind, settlement.state).inc()


def _report(settlement: Settlement) -> None:
    run = settlement.unsettled.run
    fields = {"run": run.id, "trigger": run.trigger_name, "attempt": run.attempts}
    if settlement.state is RunState.SUCCEEDED:
        _log.info("run succeeded", **fields)
    elif settlement.state is RunState.DEAD:
        _log.error("run dead", reason=settlement.reason, **fields)
    elif settlement.state is RunState.CANCELLED:
        _log.info("run cancelled", reason=settlement.reason, **fields)
    else:
        again = to_rfc3339(settlement.not_before)
        _log.warning("attempt failed", reason=settlement.reason, again_at=again, **fields)
