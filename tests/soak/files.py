"""Files under fire: a file is written and rotated while the daemon is killed.

Writer, node and daemon are processes of their own. At the end the runs of each life of the file
tile from its first byte to its end, and what their jobs were given is every line exactly once.
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bacalhau_client import Job
from tests.support import checker, rotating
from tests.support.daemon import Daemon
from tests.support.inprocess import Witness
from tests.support.nodeprocess import NodeProcess
from tests.support.ranges import Runs, leaves
from tests.support.waiting import until

NAME = "soak"
WAYS = ("rename", "copytruncate", "compress")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much, and what dies how often."""

    way: str
    seed: int
    lines: int = 1_000_000
    rotations: int = 50
    kills: int = 10
    seconds: float = 120.0
    """That the writer takes."""
    batch_lines: int = 10_000
    longest: float = 3.0
    """Seconds that nobody is there, at most."""
    within: float = 600.0
    """Seconds after the last line in which everything must be done."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    lines: int
    lives: int
    runs: int
    attempts: int
    seconds: float


class Soak:
    """One soak, in an empty directory."""

    def __init__(self, plan: Plan, place: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._place = place
        self._say = say
        self._chance = random.Random(plan.seed)
        self._shared = place / "shared"
        self._shared.mkdir(parents=True)
        (place / "logs").mkdir()
        self._log = place / "logs" / "app.log"
        self._log.touch()
        self._node = NodeProcess(place / "node", capacity=4, shared=self._shared)

    def run(self) -> Result:
        """Let it all happen, and prove that nothing is lost or twice. AssertionError otherwise."""
        began = time.monotonic()
        plan = self._plan
        writer: subprocess.Popen[bytes] | None = None
        try:
            self._node.start()
            self._daemon = Daemon(
                self._place / "orch", self._node.url, pycache=self._place / "pycache"
            )
            try:
                self._daemon.start()
                self._daemon.apply(self._trigger())
                writer = subprocess.Popen(
                    [
                        *(sys.executable, rotating.__file__, str(self._log), plan.way),
                        *(str(plan.lines), str(plan.rotations), str(plan.seconds)),
                    ],
                    stdout=subprocess.PIPE,
                )
                self._kill_again_and_again()
                told, _ = writer.communicate(timeout=plan.seconds * 5)
                # The last rotation would come behind the last line.
                assert int(told) == plan.rotations - 1, told
                self._finish()
                runs = self._daemon.runs(trigger=NAME)
                lives = self._prove(runs)
                assert self._daemon.stop() == 0
            finally:
                self._daemon.close()
        finally:
            if writer is not None:
                writer.kill()
                writer.wait()
            self._node.close()
        return Result(
            lines=plan.lines,
            lives=lives,
            runs=len(runs),
            attempts=sum(len(run["attempts"]) for run in runs),
            seconds=time.monotonic() - began,
        )

    def _trigger(self) -> str:
        retry = {"max_attempts": 50, "backoff": {"initial": "200ms", "max": "2s"}}
        return json.dumps(
            {
                "apiVersion": "orch/v1",
                "kind": "file",
                "name": NAME,
                "path": str(self._log),
                "start": "beginning",
                "batch_lines": self._plan.batch_lines,
                "batch_window": "500ms",
                "flush_after": "1s",
                "storage": str(self._shared),
                "retry": retry,
                "stop_grace": "1s",
            }
        )

    def _kill_again_and_again(self) -> None:
        plan = self._plan
        for number in range(plan.kills):
            self._pause(2 * plan.seconds / (plan.kills + 1) - plan.longest)
            self._daemon.kill()
            self._pause(plan.longest)
            self._daemon.start()
            self._say(f"kill {number + 1} of {plan.kills}")

    def _pause(self, longest: float) -> None:
        # A life of random length is what is tested; nothing is waited for.
        threading.Event().wait(self._chance.uniform(0, max(0.1, longest)))

    def _finish(self) -> None:
        """Wait until every line is in a run, and no run is open."""
        plan = self._plan

        def done() -> bool:
            runs = self._daemon.runs(trigger=NAME)
            counted = sum(_count(run) for run in runs)
            over = counted >= plan.lines and all(run["ended_at"] for run in runs)
            # What closes a life may come a little behind its last line.
            ends = {run["partition"] for run in runs if run["range"]["end"] == "end"}
            return over and len({run["partition"] for run in runs} - ends) <= 1

        until(done, "all is done", within=plan.within, show=self._how_it_stands)

    def _how_it_stands(self) -> Any:
        runs = self._daemon.runs(trigger=NAME)
        places = self._daemon.call("GET", "/api/v1/checkpoints", trigger=NAME)["items"]
        still_open = [run for run in runs if run["ended_at"] is None]
        return sum(map(_count, runs)), places, still_open[:3], self._daemon.said()[-3000:]

    def _prove(self, runs: Runs) -> int:
        """Look from all sides; returns how many lives there were."""
        audit = self._daemon.call("GET", "/api/v1/audit")
        assert audit["ok"], audit["findings"]
        checker.runs_have_ended(runs)
        wrong = [run for run in leaves(runs) if run["state"] not in ("succeeded", "skipped")]
        assert not wrong, wrong[:3]
        lives = _tiled(runs)
        with Witness(self._node.url) as witness:
            jobs = witness.jobs()
            checker.jobs_match_ledger(jobs, runs)
            given = {job.labels["orch.run"]: job for job in jobs}
            seen = bytearray(self._plan.lines)
            for run in runs:
                if run["state"] == "succeeded":
                    for line in _given(given[run["id"]]).splitlines():
                        number = int(line[:9])
                        assert not seen[number], f"line {number} was given twice"
                        seen[number] = 1
        missing = self._plan.lines - sum(seen)
        assert not missing, f"{missing} lines are missing, the first is {seen.index(0)}"
        return lives


def _count(run: Mapping[str, Any]) -> int:
    return int(run["values"].get("batch", {}).get("count", 0)) if run["state"] != "skipped" else 0


def _tiled(runs: Runs) -> int:
    """The ranges of each life lead from its first byte on without gap or overlap, and only one of
    them is not at its end."""
    spans: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for run in leaves(runs):
        spans[run["partition"]].append((run["range"]["start"], run["range"]["end"]))
    still_open = 0
    for name, mine in spans.items():
        mine.sort(key=lambda span: int(span[0].partition(":")[0]))
        assert mine[0][0] == "0", (name, mine[0])
        for before, after in pairwise(mine):
            # What closes a life may be empty, and then begins where the last batch ended.
            assert before[1] == after[0], f"{name}: {before} is followed by {after}"
        still_open += mine[-1][1] != "end"
    assert still_open <= 1, spans.keys()
    return len(spans)


def _given(job: Job) -> bytes:
    """What the task of a job found."""
    sources = [source for task in job.raw["Tasks"] for source in task["InputSources"]]
    [source] = [one for one in sources if one["Target"] == "/orch/batch.ndjson"]
    where = source["Source"]
    if where["Type"] == "inline":
        return base64.b64decode(where["Params"]["URL"].partition(",")[2])
    return Path(where["Params"]["SourcePath"]).read_bytes()
