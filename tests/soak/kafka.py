"""Kafka under fire: daemon, broker and node are killed while records stream into jobs.

Everything is a process of its own. Records are produced all the while. At the end every offset
must be covered by runs that succeeded, and what tasks counted must be what was produced.
"""

from __future__ import annotations

import random
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak import follower, modes
from tests.support import checker
from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness
from tests.support.kafka import Kafka
from tests.support.nodeprocess import NodeProcess
from tests.support.ranges import Runs, ranges_tile
from tests.support.waiting import until

_SIZE = 100  # bytes of a record
_CAPACITY = 4  # tasks at once, beside followers, which are all there at once


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much, and what dies how often."""

    mode: str
    seed: int
    records: int = 1_000_000
    partitions: int = 12
    kills: int = 20
    broker_restarts: int = 2
    node_restarts: int = 2
    client: str = "kafka-python"
    max_records: int = 10_000
    life: int = 20
    """Seconds of a follower."""
    longest: float = 4.0
    """Seconds that a daemon lives at most, once it answers."""
    within: float = 900.0
    """Seconds after the last kill in which everything must be done."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    produced: int
    runs: int
    attempts: int
    counted: int
    """In mode follow: records that were processed, repeats included."""
    repeats: int
    seconds: float


class Soak:
    """One soak, in an empty directory, on a topic of its own."""

    def __init__(self, plan: Plan, kafka: Kafka, place: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._kafka = kafka
        self._say = say
        self._chance = random.Random(plan.seed)
        self._place = place
        self._shared = place / "shared"
        self._shared.mkdir(parents=True)
        self._topic = kafka.topic(plan.partitions)
        self._ends = {f"{self._topic}/{number}": 0 for number in range(plan.partitions)}
        followers = [sys.executable, follower.__file__, str(self._shared)]
        self._node = NodeProcess(
            place / "node",
            images=_images() | {"orch/kafka-follow:1": shlex.join(followers)},
            capacity=plan.partitions if plan.mode == "follow" else _CAPACITY,
            shared=self._shared,
        )

    def run(self) -> Result:
        """Let it all happen, and prove that nothing is lost or twice. AssertionError otherwise."""
        began = time.monotonic()
        try:
            self._node.start()
            self._daemon = Daemon(
                self._place / "orch", self._node.url, pycache=self._place / "pycache"
            )
            try:
                self._life_and_death()
                self._daemon.start()
                self._finish()
                runs = self._daemon.runs(trigger=modes.NAME)
                again = self._prove(runs)
                assert self._daemon.stop() == 0
            finally:
                self._daemon.close()
        finally:
            self._node.close()
            self._kafka.start()
        produced = sum(self._ends.values())
        return Result(
            produced=produced,
            runs=len(runs),
            attempts=sum(len(run["attempts"]) for run in runs),
            counted=produced + again,
            repeats=again,
            seconds=time.monotonic() - began,
        )

    # -- while it runs ----------------------------------------------------------------------

    def _life_and_death(self) -> None:
        plan = self._plan
        cycles = range(plan.kills)
        broker = set(self._chance.sample(cycles, min(plan.broker_restarts, plan.kills)))
        node = set(self._chance.sample(cycles, min(plan.node_restarts, plan.kills)))
        later: list[Callable[[], None]] = []
        for cycle in cycles:
            self._daemon.start()
            while later:
                later.pop()()
            self._register()
            self._produce(cycle)
            self._pause(plan.longest)
            away: list[Callable[[], None]] = []
            if cycle in broker:
                self._kafka.kill() if self._chance.random() < 0.5 else self._kafka.stop()
                away.append(self._kafka.start)
            if cycle in node:
                self._node.kill()
                away.append(self._node.start)
            back = self._chance.choice(["before", "after", "later"]) if away else ""
            if away:
                self._pause(2.0)
            if back == "before":
                while away:
                    away.pop()()
                self._pause(plan.longest)
            told = self._tell(cycle, cycle in broker, cycle in node, back)
            self._daemon.kill()
            self._say(told)
            if back == "after":
                while away:
                    away.pop()()
            later = away
        while later:
            later.pop()()

    def _register(self) -> None:
        if self._daemon.triggers():
            return
        plan = self._plan
        self._daemon.apply(
            modes.trigger(
                plan.mode,
                self._topic,
                self._kafka.bootstrap,
                self._shared,
                client=plan.client,
                max_records=plan.max_records,
                life=plan.life,
            )
        )

    def _produce(self, cycle: int) -> None:
        """This cycle's part of the records, unevenly over the partitions."""
        plan = self._plan
        through = plan.records * (cycle + 1) // plan.kills
        count = through - sum(self._ends.values())
        weights = [self._chance.random() for _ in self._ends]
        shares = Counter(self._chance.choices(list(self._ends), weights, k=count))
        self._kafka.produce_all(
            self._topic,
            {int(name.rpartition("/")[2]): self._values(name, n) for name, n in shares.items()},
        )
        for name, share in shares.items():
            self._ends[name] += share

    def _values(self, name: str, count: int) -> Iterator[bytes]:
        first = self._ends[name]
        return (f"{number:>{_SIZE}}".encode() for number in range(first, first + count))

    def _pause(self, longest: float) -> None:
        # A life of random length is what is tested; nothing is waited for.
        threading.Event().wait(self._chance.uniform(0, longest))

    def _tell(self, cycle: int, broker: bool, node: bool, back: str) -> str:
        try:
            runs = self._daemon.runs(trigger=modes.NAME)
        except (Gone, AssertionError):
            runs = []
        states = Counter(run["state"] for run in runs)
        died = [name for name, is_so in (("broker", broker), ("node", node)) if is_so]
        more = f"; {' and '.join(died)} down, back {back}" if died else ""
        return f"kill {cycle + 1} of {self._plan.kills}: {dict(states)}{more}"

    # -- afterwards -------------------------------------------------------------------------

    def _finish(self) -> None:
        """Wait until everything is done and no run is open."""

        def done() -> bool:
            places = self._checkpoints()
            if any(places.get(name) != (end, end) for name, end in self._ends.items()):
                return False
            return all(run["ended_at"] for run in self._daemon.runs(trigger=modes.NAME))

        until(done, "all is done", within=self._plan.within, show=self._how_it_stands)

    def _checkpoints(self) -> Mapping[str, tuple[int, int]]:
        found = self._daemon.call("GET", "/api/v1/checkpoints", trigger=modes.NAME)["items"]
        return {item["partition"]: (int(item["planned"]), int(item["done"])) for item in found}

    def _how_it_stands(self) -> Any:
        runs = self._daemon.runs(trigger=modes.NAME)
        still_open = [run for run in runs if run["state"] != "succeeded"]
        status = self._daemon.call("GET", "/api/v1/status")
        return self._ends, self._checkpoints(), still_open, status, self._daemon.said()[-3000:]

    def _prove(self, runs: Runs) -> int:
        """Look from all sides; returns how many records were processed again."""
        audit = self._daemon.call("GET", "/api/v1/audit")
        assert audit["ok"], audit["findings"]
        checker.runs_have_ended(runs)
        with Witness(self._node.url) as witness:
            checker.jobs_match_ledger(witness.jobs(), runs)
        ranges_tile(runs, self._ends)
        if self._plan.mode == "follow":
            return modes.repeats(self._shared, self._ends)
        assert modes.counted(runs) == sum(self._ends.values())
        return 0


def _images() -> dict[str, str]:
    from orchestrator.cli.devnode import task_commands

    return task_commands()
