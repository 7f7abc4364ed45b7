"""Tables under fire: rows become jobs while the daemon and the database are killed at random.

A real MariaDB that a publisher fills, a node and a daemon in processes of their own. At the end
every row is in exactly one run that succeeded, and what the table says of it is what the ledger
says.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql

from bacalhau_client import Job
from tests.support import checker
from tests.support.daemon import Daemon
from tests.support.inprocess import Witness
from tests.support.jobtable import SECRETS, JobTable
from tests.support.mariadb import MariaDb
from tests.support.nodeprocess import NodeProcess
from tests.support.waiting import until

_IMAGE = "orch/worker:1"
_INSERT = 500  # rows of one transaction


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much, and what dies how often."""

    seed: int
    rows: int = 50_000
    batch: int = 100
    kills: int = 20
    """Of the daemon."""
    database_kills: int = 10
    longest: float = 5.0
    """Seconds that a daemon lives at most, once it answers."""
    within: float = 600.0
    """Seconds after the last kill in which everything must be done."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    rows: int
    runs: int
    attempts: int
    seconds: float


class Soak:
    """One soak, in an empty directory, on a server of its own."""

    def __init__(self, plan: Plan, place: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._place = place
        self._say = say
        self._chance = random.Random(plan.seed)
        place.mkdir(parents=True)
        images = {_IMAGE: f"{sys.executable} -c pass"}
        self._node = NodeProcess(place / "node", images=images, capacity=4)
        self._server = MariaDb()
        self._table = JobTable.mariadb(self._server)
        self._database = str(self._table.settings()["dsn"]).rpartition("/")[2]

    def run(self) -> Result:
        """Let it all happen, and prove that nothing is lost or twice. AssertionError otherwise."""
        began = time.monotonic()
        secrets = self._place / "orch" / "secrets"
        secrets.mkdir(parents=True)
        for name, value in SECRETS.items():
            (secrets / name).write_text(value)
        publisher = threading.Thread(target=self._publish)
        try:
            self._node.start()
            self._daemon = Daemon(
                self._place / "orch", self._node.url, pycache=self._place / "pycache"
            )
            try:
                self._daemon.start()
                self._daemon.apply(self._trigger())
                publisher.start()
                self._kill_again_and_again()
                publisher.join()
                until(
                    lambda: self._left() == 0,
                    "all rows are finished",
                    within=self._plan.within,
                    show=lambda: (self._left(), self._daemon.said()[-3000:]),
                )
                result = self._prove(self._daemon.drained(within=60), began)
                assert self._daemon.stop() == 0
            finally:
                self._daemon.close()
        finally:
            if publisher.is_alive():
                publisher.join()
            self._node.close()
            self._server.close()
        return result

    def _publish(self) -> None:
        """Insert rows with numbers of their own; what a dead database did not answer is asked for
        before it is inserted again."""
        for begin in range(1, self._plan.rows + 1, _INSERT):
            numbers = range(begin, min(begin + _INSERT, self._plan.rows + 1))
            while not self._tried(lambda numbers=numbers: self._insert(numbers)):
                threading.Event().wait(0.2)

    def _insert(self, numbers: range) -> None:
        connection = self._server.connect(self._database)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM jobs WHERE id BETWEEN %s AND %s",
                           (numbers[0], numbers[-1]))  # fmt: skip
            if cursor.fetchone()[0]:
                return
            cursor.execute("BEGIN")
            rows = [(number, f'{{"n": {number}}}') for number in numbers]
            cursor.executemany("INSERT INTO jobs (id, payload) VALUES (%s, %s)", rows)
            cursor.execute("COMMIT")

    def _tried(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except (pymysql.err.Error, OSError):
            return False
        return True

    def _trigger(self) -> str:
        task = {"Name": "work", "Engine": {"Type": "docker", "Params": {"Image": _IMAGE}}}
        return json.dumps(
            {
                "apiVersion": "orch/v1",
                "kind": "table",
                "name": "jobs",
                **self._table.settings(every="100ms", batch_size=self._plan.batch),
                "max_in_flight": 20,
                "retry": {"max_attempts": 5, "backoff": {"initial": "200ms", "max": "2s"}},
                "stop_grace": "1s",
                "job": {"Type": "batch", "Tasks": [task]},
            }
        )

    def _kill_again_and_again(self) -> None:
        plan = self._plan
        deaths = ["daemon"] * plan.kills + ["database"] * plan.database_kills
        self._chance.shuffle(deaths)
        for number, who in enumerate(deaths):
            # A life of random length is what is tested; nothing is waited for.
            threading.Event().wait(self._chance.uniform(0.2, plan.longest))
            if who == "daemon":
                self._daemon.kill()
                self._daemon.start()
            else:
                self._server.kill()
                threading.Event().wait(self._chance.uniform(0.0, 1.0))
                self._server.start()
            self._say(f"kill {number + 1} of {len(deaths)}: {who}")

    def _ask(self, statement: str) -> Sequence[tuple[Any, ...]]:
        connection = self._server.connect(self._database)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def _left(self) -> int:
        open_ = "finished_at IS NULL AND cancelled_at IS NULL"
        return self._ask(f"SELECT count(*) FROM jobs WHERE {open_}")[0][0]

    def _prove(self, runs: Sequence[Mapping[str, Any]], began: float) -> Result:
        audit = self._daemon.call("GET", "/api/v1/audit")
        assert audit["ok"], audit["findings"]
        checker.runs_have_ended(runs)
        with Witness(self._node.url) as witness:
            jobs = witness.jobs()
        checker.jobs_match_ledger(jobs, runs)
        by_id = {run["id"]: run for run in runs}
        given = {job.labels["orch.run"]: _given(job) for job in jobs}
        wrong = [run for run in runs if run["state"] != "succeeded"]
        assert not wrong, wrong[:3]
        times = Counter(number for numbers in given.values() for number in numbers)
        assert times.keys() == set(range(1, self._plan.rows + 1)), "rows are missing"
        assert set(times.values()) == {1}, times.most_common(3)
        columns = "id, run_id, started_at, finished_at, cancelled_at, reason"
        for number, run_id, started, finished, cancelled, reason in self._ask(
            f"SELECT {columns} FROM jobs"
        ):
            run = by_id[run_id]
            assert number in given[run_id]
            assert (cancelled, reason) == (None, None)
            assert _instant(run["started_at"]) == started.replace(tzinfo=UTC)
            assert _instant(run["ended_at"]) == finished.replace(tzinfo=UTC)
        return Result(
            rows=self._plan.rows,
            runs=len(runs),
            attempts=sum(len(run["attempts"]) for run in runs),
            seconds=time.monotonic() - began,
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _given(job: Job) -> frozenset[int]:
    """The numbers of the rows that the task of a job was given."""
    sources = [source for task in job.raw["Tasks"] for source in task["InputSources"]]
    [source] = [one for one in sources if one["Target"] == "/orch/batch.ndjson"]
    url = source["Source"]["Params"]["URL"]
    lines = base64.b64decode(url.partition(",")[2]).splitlines()
    return frozenset(int(json.loads(line)["id"]) for line in lines)
