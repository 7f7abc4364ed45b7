"""A broker under fire: messages become jobs while daemon, broker and connections are killed.

A real Mosquitto, a node and a daemon in processes of their own. The broker is ended as an operator
does (killed it would lose what it has promised to keep: it writes to disk now and then), and the
daemon by SIGKILL. At the end every message that carries an id is in exactly one run, every other
one in at least one, and how often one was in two is counted.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bacalhau_client import Job
from tests.support import checker
from tests.support.daemon import Daemon
from tests.support.inprocess import Witness
from tests.support.mosquitto import Mosquitto
from tests.support.nodeprocess import NodeProcess
from tests.support.waiting import until

NAMED, PLAIN = "soak-named", "soak-plain"
# One job in fifty fails; which, hangs on its run and its attempt alone.
_WORKER = """\
import os, sys, zlib
who = os.environ["ORCH_RUN_ID"] + os.environ["ORCH_ATTEMPT"]
sys.exit(zlib.crc32(who.encode()) % 50 == 0)
"""
_IMAGE = "orch/worker:1"
_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much, and what dies how often."""

    seed: int
    messages: int = 50_000
    """That carry ids."""
    plain: int = 10_000
    """That carry none."""
    batch: int = 100
    kills: int = 20
    broker_restarts: int = 5
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
    dead: int
    """Runs."""
    twice: int
    """Messages without an id that were in more than one run."""
    seconds: float


class Soak:
    """One soak, in an empty directory, on a broker of its own."""

    def __init__(self, plan: Plan, place: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._place = place
        self._say = say
        self._chance = random.Random(plan.seed)
        place.mkdir(parents=True)
        script = place / "worker.py"
        script.write_text(_WORKER)
        image = {_IMAGE: f"{sys.executable} {script}"}
        self._node = NodeProcess(place / "node", images=image, capacity=4)
        self._broker = Mosquitto()

    def run(self) -> Result:
        """Let it all happen, and prove that nothing is lost. AssertionError otherwise."""
        began = time.monotonic()
        sender = threading.Thread(target=self._send)
        try:
            self._node.start()
            self._daemon = Daemon(
                self._place / "orch", self._node.url, pycache=self._place / "pycache"
            )
            try:
                self._daemon.start()
                for name in (NAMED, PLAIN):
                    self._daemon.apply(self._trigger(name))
                self._listening()
                sender.start()
                self._kill_again_and_again()
                sender.join()
                self._finish()
                result = self._prove(self._daemon.runs(), began)
                assert self._daemon.stop() == 0
            finally:
                self._daemon.close()
        finally:
            if sender.is_alive():
                sender.join()
            self._node.close()
            self._broker.close()
        return result

    def _trigger(self, name: str) -> str:
        task = {"Name": "work", "Engine": {"Type": "docker", "Params": {"Image": _IMAGE}}}
        own = {"id": {"property": "id"}} if name == NAMED else {}
        return json.dumps(
            {
                "apiVersion": "orch/v1",
                "kind": "mqtt",
                "name": name,
                "broker": self._broker.url,
                "topic": f"{name}/#",
                "batch_size": self._plan.batch,
                "batch_window": "1s",
                **own,
                "retry": {"max_attempts": 3, "backoff": {"initial": "200ms", "max": "2s"}},
                "stop_grace": "1s",
                "job": {"Type": "batch", "Tasks": [task]},
            }
        )

    def _listening(self) -> None:
        """Wait for the sessions: until they are there nobody keeps anything."""
        peer = self._broker.peer()

        def heard() -> bool:
            for name in (NAMED, PLAIN):
                peer.publish(f"{name}/first", ["-1"], qos=0)
            return {run["trigger"] for run in self._daemon.runs()} == {NAMED, PLAIN}

        until(heard, "both triggers listen", within=60, show=lambda: self._daemon.said()[-3000:])
        peer.close()

    def _send(self) -> None:
        peer = self._broker.peer("soak-publisher")
        for name, count in ((PLAIN, self._plan.plain), (NAMED, self._plan.messages)):
            for begin in range(0, count, _AT_ONCE):
                numbers = range(begin, min(begin + _AT_ONCE, count))
                sent = [
                    peer.send(f"{name}/{number % 7}", str(number), properties=[("id", str(number))])
                    for number in numbers
                ]
                for one in sent:
                    one.wait_for_publish(300)
                    assert one.is_published(), "the broker has it"
        peer.close()

    def _kill_again_and_again(self) -> None:
        plan = self._plan
        restarts = set(
            self._chance.sample(range(plan.kills), min(plan.broker_restarts, plan.kills))
        )
        for number in range(plan.kills):
            # A life of random length is what is tested; nothing is waited for.
            threading.Event().wait(self._chance.uniform(0.2, plan.longest))
            if number in restarts:
                self._broker.stop()
                threading.Event().wait(self._chance.uniform(0.0, 2.0))
                self._broker.start()
            if number % 3:
                self._daemon.kill()
                self._daemon.start()
            self._say(f"kill {number + 1} of {plan.kills}")

    def _finish(self) -> None:
        """Wait until all is handled and no run is open."""

        def done() -> bool:
            status = self._daemon.call("GET", "/api/v1/status")
            if sum(status["runs"].values()):
                return False
            handled = self._handled(self._daemon.runs())
            expected = ((NAMED, self._plan.messages), (PLAIN, self._plan.plain))
            return all(len(handled[name]) >= count for name, count in expected)

        until(done, "all is done", within=self._plan.within, show=self._how_it_stands)

    def _how_it_stands(self) -> Any:
        handled = self._handled(self._daemon.runs())
        counts = {name: len(found) for name, found in handled.items()}
        return counts, self._daemon.call("GET", "/api/v1/status"), self._daemon.said()[-3000:]

    def _handled(self, runs: Sequence[Mapping[str, Any]]) -> dict[str, Counter[int]]:
        """In how many runs each message is, by trigger."""
        with Witness(self._node.url) as witness:
            given = {job.labels["orch.run"]: _given(job) for job in witness.jobs()}
        found: dict[str, Counter[int]] = {NAMED: Counter(), PLAIN: Counter()}
        for run in runs:
            found[run["trigger"]].update(n for n in given.get(run["id"], []) if n >= 0)
        return found

    def _prove(self, runs: Sequence[Mapping[str, Any]], began: float) -> Result:
        plan = self._plan
        audit = self._daemon.call("GET", "/api/v1/audit")
        assert audit["ok"], audit["findings"]
        checker.runs_have_ended(runs)
        wrong = [run for run in runs if run["state"] not in ("succeeded", "dead")]
        assert not wrong, wrong[:3]
        with Witness(self._node.url) as witness:
            checker.jobs_match_ledger(witness.jobs(), runs)
        handled = self._handled(runs)
        for name, count in ((NAMED, plan.messages), (PLAIN, plan.plain)):
            missing = set(range(count)) - set(handled[name])
            assert not missing, f"{name}: {len(missing)} messages are missing: {min(missing)}"
        again = [number for number, times in handled[NAMED].items() if times > 1]
        assert not again, f"{len(again)} messages with an id are in two runs: {again[:5]}"
        return Result(
            messages=plan.messages + plan.plain,
            runs=len(runs),
            attempts=sum(len(run["attempts"]) for run in runs),
            dead=sum(run["state"] == "dead" for run in runs),
            twice=sum(times > 1 for times in handled[PLAIN].values()),
            seconds=time.monotonic() - began,
        )


def _given(job: Job) -> list[int]:
    """The numbers of the messages that the task of a job was given."""
    sources = [source for task in job.raw["Tasks"] for source in task["InputSources"]]
    [source] = [one for one in sources if one["Target"] == "/orch/batch.ndjson"]
    url = source["Source"]["Params"]["URL"]
    lines = base64.b64decode(url.partition(",")[2]).splitlines()
    return [int(json.loads(line)["body"]) for line in lines]
