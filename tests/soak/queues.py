"""Queues under fire: messages become jobs, of which some fail, while the daemon is killed.

A standard queue and a FIFO queue of a real server, a node and a daemon in processes of their own.
At the end every message is in a run that succeeded or is dead, none is left in the queue, and those
of a group were handled one after the other.
"""

from __future__ import annotations

import base64
import json
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bacalhau_client import Job
from tests.support import checker
from tests.support.daemon import Daemon
from tests.support.elasticmq import ENVIRONMENT, REGION, ElasticMq
from tests.support.inprocess import Witness
from tests.support.nodeprocess import NodeProcess
from tests.support.waiting import until

STANDARD, FIFO = "soak", "soak-fifo"
# One job in fifty fails; which, hangs on its run and its attempt alone.
_WORKER = """\
import os, sys, zlib
who = os.environ["ORCH_RUN_ID"] + os.environ["ORCH_ATTEMPT"]
sys.exit(zlib.crc32(who.encode()) % 50 == 0)
"""
_IMAGE = "orch/worker:1"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much, and what dies how often."""

    seed: int
    messages: int = 100_000
    ordered: int = 5_000
    groups: int = 20
    batch: int = 100
    kills: int = 20
    visibility: int = 30
    """Seconds."""
    longest: float = 6.0
    """Seconds that a daemon lives at most, once it answers."""
    within: float = 900.0
    """Seconds after the last kill in which everything must be done."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    messages: int
    runs: int
    attempts: int
    failed: int
    """Attempts whose task failed."""
    dead: int
    """Runs."""
    twice: int
    """Messages that were in more than one run."""
    seconds: float


class Soak:
    """One soak, in an empty directory, on queues of its own."""

    def __init__(
        self, plan: Plan, server: ElasticMq, place: Path, say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._server = server
        self._place = place
        self._say = say
        self._chance = random.Random(plan.seed)
        self._shared = place / "shared"
        self._shared.mkdir(parents=True)
        script = place / "worker.py"
        script.write_text(_WORKER)
        image = {_IMAGE: f"{sys.executable} {script}"}
        self._node = NodeProcess(place / "node", images=image, capacity=4, shared=self._shared)
        visible = str(plan.visibility)
        self._queues = {
            STANDARD: server.queue(VisibilityTimeout=visible),
            FIFO: server.queue(fifo=True, VisibilityTimeout=visible),
        }

    def run(self) -> Result:
        """Let it all happen, and prove that nothing is lost. AssertionError otherwise."""
        began = time.monotonic()
        os.environ.update(ENVIRONMENT)  # the daemon inherits them
        sender = threading.Thread(target=self._send)
        try:
            self._node.start()
            self._daemon = Daemon(
                self._place / "orch", self._node.url, pycache=self._place / "pycache"
            )
            try:
                self._daemon.start()
                for name in self._queues:
                    self._daemon.apply(self._trigger(name))
                sender.start()
                self._kill_again_and_again()
                sender.join()
                self._finish()
                runs = self._daemon.runs()
                result = self._prove(runs, began)
                assert self._daemon.stop() == 0
            finally:
                self._daemon.close()
        finally:
            if sender.is_alive():
                sender.join()
            self._node.close()
        return result

    def _send(self) -> None:
        plan = self._plan
        groups = [f"g{number}" for number in range(plan.groups)]
        self._server.send(self._queues[FIFO], map(str, range(plan.ordered)), groups)
        self._server.send(self._queues[STANDARD], map(str, range(plan.messages)))

    def _trigger(self, name: str) -> str:
        task = {
            "Name": "work",
            "Engine": {"Type": "docker", "Params": {"Image": _IMAGE}},
        }
        return json.dumps(
            {
                "apiVersion": "orch/v1",
                "kind": "sqs",
                "name": name,
                "queue": self._queues[name],
                "endpoint": self._server.endpoint,
                "region": REGION,
                "batch_size": self._plan.batch if name == STANDARD else 10,
                "batch_window": "1s" if name == STANDARD else "200ms",
                "retry": {"max_attempts": 3, "backoff": {"initial": "200ms", "max": "2s"}},
                "stop_grace": "1s",
                "job": {"Type": "batch", "Tasks": [task]},
            }
        )

    def _kill_again_and_again(self) -> None:
        plan = self._plan
        for number in range(plan.kills):
            # A life of random length is what is tested; nothing is waited for.
            threading.Event().wait(self._chance.uniform(0.2, plan.longest))
            self._daemon.kill()
            self._daemon.start()
            self._say(f"kill {number + 1} of {plan.kills}")

    def _finish(self) -> None:
        """Wait until the queues are empty and no run is open."""

        def done() -> bool:
            left = [self._server.left(url) for url in self._queues.values()]
            return not any(map(sum, left)) and not self._open()

        until(done, "all is done", within=self._plan.within, show=self._how_it_stands)

    def _open(self) -> int:
        status = self._daemon.call("GET", "/api/v1/status")
        return sum(status["runs"].values())

    def _how_it_stands(self) -> Any:
        left = {name: self._server.left(url) for name, url in self._queues.items()}
        return left, self._daemon.call("GET", "/api/v1/status"), self._daemon.said()[-3000:]

    def _prove(self, runs: Sequence[Mapping[str, Any]], began: float) -> Result:
        plan = self._plan
        audit = self._daemon.call("GET", "/api/v1/audit")
        assert audit["ok"], audit["findings"]
        checker.runs_have_ended(runs)
        wrong = [run for run in runs if run["state"] not in ("succeeded", "dead")]
        assert not wrong, wrong[:3]
        with Witness(self._node.url) as witness:
            jobs = witness.jobs()
        checker.jobs_match_ledger(jobs, runs)
        given = {job.labels["orch.run"]: _given(job) for job in jobs}
        handled: dict[str, Counter[int]] = {name: Counter() for name in self._queues}
        for run in runs:
            handled[run["trigger"]].update(given[run["id"]])
        for name, count in ((STANDARD, plan.messages), (FIFO, plan.ordered)):
            missing = set(range(count)) - set(handled[name])
            assert not missing, f"{name}: {len(missing)} messages are missing: {min(missing)}"
        _in_order([run for run in runs if run["trigger"] == FIFO], given, plan.groups)
        attempts = [attempt for run in runs for attempt in run["attempts"]]
        return Result(
            messages=plan.messages + plan.ordered,
            runs=len(runs),
            attempts=len(attempts),
            failed=sum(attempt["exit_code"] == 1 for attempt in attempts),
            dead=sum(run["state"] == "dead" for run in runs),
            twice=sum(times > 1 for counts in handled.values() for times in counts.values()),
            seconds=time.monotonic() - began,
        )


def _in_order(
    runs: Sequence[Mapping[str, Any]], given: Mapping[str, Sequence[int]], groups: int
) -> None:
    """The runs of a group did not overlap, and went through its messages in their order."""
    of_group: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        [group] = {number % groups for number in given[run["id"]]}
        of_group[group].append(run)
    for group, mine in of_group.items():
        mine.sort(key=lambda run: str(run["started_at"]))
        for before, after in pairwise(mine):
            assert _time(before["ended_at"]) <= _time(after["started_at"]), (group, before, after)
        numbers = [number for run in mine for number in given[run["id"]]]
        assert numbers == sorted(numbers), f"group {group} is out of order"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _given(job: Job) -> list[int]:
    """The numbers of the messages that the task of a job was given."""
    sources = [source for task in job.raw["Tasks"] for source in task["InputSources"]]
    [source] = [one for one in sources if one["Target"] == "/orch/batch.ndjson"]
    url = source["Source"]["Params"]["URL"]
    lines = base64.b64decode(url.partition(",")[2]).splitlines()
    return [int(json.loads(line)["body"]) for line in lines]
