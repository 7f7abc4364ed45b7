"""The daemon dies at the named points of queues and hooks, one after the other.

Afterwards every message is in one run that succeeded, was handled once, and the queue is empty; an
event that was answered with 202 has its run, and one that was not has one after it was sent again.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import checker, moto
from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness, lines
from tests.support.jobs import IMAGE
from tests.support.waiting import until

_NAME = "orders"
_REGION = "eu-central-1"
_numbers = itertools.count(1)


def _job(value: str) -> dict[str, Any]:
    """A task that writes down for which run it was, and what it got."""
    engine = {
        "Type": "docker",
        "Params": {
            "Image": IMAGE,
            "Entrypoint": ["/bin/sh", "-c"],
            "Parameters": ['echo "$ORCH_RUN_ID $ORCH_ATTEMPT $TEXT" >> "$OUT"'],
        },
    }
    env = {"TEXT": value, "OUT": ""}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine, "Env": env}]}


def _file(out: Path, value: str, **settings: Any) -> str:
    job = _job(value)
    job["Tasks"][0]["Env"]["OUT"] = str(out)
    document = {"apiVersion": "orch/v1", "name": _NAME, "job": job}
    quick = {"retry": {"max_attempts": 2, "backoff": {"initial": "50ms", "max": "50ms"}}}
    return json.dumps({**document, **quick, **settings})


def _points(label: str, *, count: int = 1) -> list[str]:
    return [f"commit.{label}.before={count}", f"commit.{label}.after={count}"]


class Orders:
    """A queue of moto's server that grows, and the trigger on it."""

    def __init__(self, endpoint: str, out: Path, **settings: Any) -> None:
        self._client: Any = moto.client("sqs", endpoint, _REGION)
        name = f"failpoints-{next(_numbers)}"
        self._url = self._client.create_queue(QueueName=name)["QueueUrl"]
        self.sent: set[str] = set()
        self.out = out
        self._looks = 0
        self.padding = ""
        given = {"queue": name, "region": _REGION, "endpoint": endpoint, "wait": "1s"}
        quick = {"visibility": "10s", "batch_size": 1}
        self.file = _file(out, "t ${{ event.body }}", kind="sqs", **given, **quick, **settings)

    def grow(self, count: int = 4) -> None:
        """More messages."""
        for _ in range(count):
            body = f"m{len(self.sent)}"
            self._client.send_message(QueueUrl=self._url, MessageBody=f"{self.padding}{body}")
            self.sent.add(body)

    def drive(self, daemon: Daemon) -> None:
        """Register, and let more come now and then; the daemon may die of it."""
        self._looks += 1
        if self._looks % 40 == 0:
            self.grow(1)
        with suppress(Gone):
            if not daemon.triggers():
                daemon.apply(self.file)

    def left(self) -> int:
        """Messages that wait or are in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        return sum(int(count) for count in found["Attributes"].values())

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def orders(tmp_path: Path, endpoint: str, aws_credentials: None) -> Iterator[Orders]:
    """A queue that outlives every daemon."""
    orders = Orders(endpoint, tmp_path / "out")
    yield orders
    orders.close()


def _dead(daemon: Daemon, point: str, drive: Any) -> None:
    """Start the daemon and drive it until it comes to its point."""
    daemon.start(point)

    def dead() -> bool:
        if daemon.alive:
            drive()
        return not daemon.alive

    until(dead, f"death at {point}", within=60, show=lambda: daemon.said()[-3000:])
    assert daemon.exit_code == -9, daemon.said()[-3000:]


def _prove(daemon: Daemon, witness: Witness, out: Path, expected: set[str]) -> None:
    """Each event in one run, which succeeded, and handled once."""
    runs = daemon.drained(within=90)
    audit = daemon.call("GET", "/api/v1/audit")
    assert audit["ok"], audit["findings"]
    checker.runs_have_ended(runs)
    checker.jobs_match_ledger(witness.jobs(), runs)
    assert {run["state"] for run in runs} == {"succeeded"}
    handled = Counter(line.split()[-1] for line in lines(out))
    assert handled.keys() == expected
    assert set(handled.values()) == {1}, handled.most_common(3)
    assert len(runs) == len(expected)
    [summary] = audit["triggers"]
    assert (summary["partition"], summary["runs"], summary["open"]) == ("inbox", len(runs), 0)


_QUEUE = [
    *("queue.polled=2", "queue.packed", *_points("inbox", count=2), "queue.taken=2"),
    *("queue.tell.before", "queue.tell.after", *_points("told")),
    *_points("settle"),
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"ack": "on_intake"}], ids=["after", "on_intake"])
def test_killed_between_a_queue_and_its_runs(
    daemon: Daemon, witness: Witness, orders: Orders, settings: dict[str, Any]
) -> None:
    """From a message that was received to one of which the queue was told."""
    orders.file = json.dumps({**json.loads(orders.file), **settings})
    for point in _QUEUE:
        orders.grow()
        _dead(daemon, point, lambda: orders.drive(daemon))
    orders.grow()
    daemon.start()
    orders.drive(daemon)
    until(lambda: orders.left() == 0, "the queue is empty", within=90, show=orders.left)
    _prove(daemon, witness, orders.out, orders.sent)
    assert daemon.stop() == 0


@pytest.mark.slow
def test_what_a_killed_daemon_had_stored_is_swept(
    daemon: Daemon, witness: Witness, orders: Orders, tmp_path: Path
) -> None:
    """An object of a batch that did not become a run goes after hours; those of runs stay."""
    place = tmp_path / "objects"
    large = {"storage": str(place), "keep": "1d"}
    orders.file = json.dumps({**json.loads(orders.file), **large})
    orders.padding = "x" * 20_000
    orders.grow(1)
    _dead(daemon, "queue.packed", lambda: orders.drive(daemon))
    [orphan] = place.glob("u-*/*")
    written, _, rest = orphan.name.partition("-")
    long_ago = f"{int(written, 16) - 7 * 3600 * 1_000_000:013x}"
    orphan.rename(orphan.with_name(f"{long_ago}-{rest}"))
    daemon.start()

    def swept() -> bool:
        orders.drive(daemon)
        return bool(daemon.triggers()) and not any(place.glob(f"u-*/{long_ago}-*"))

    until(swept, "the orphan is gone", within=90)
    until(lambda: orders.left() == 0, "the queue is empty", within=90, show=orders.left)
    runs = daemon.drained(within=90)
    assert len(list(place.glob("u-*/*/batch.ndjson"))) == len(runs) == len(orders.sent)
    assert daemon.stop() == 0


@pytest.mark.slow
def test_killed_while_the_queue_is_asked_to_wait_longer(
    daemon: Daemon, witness: Witness, orders: Orders
) -> None:
    """It is asked once more, or delivers again what then joins its run: each is handled once."""
    document = json.loads(orders.file)
    script = document["job"]["Tasks"][0]["Engine"]["Params"]["Parameters"]
    script[0] = f"sleep 4; {script[0]}"  # a third of 10 s, and a little
    orders.file = json.dumps(document)
    for point in ("queue.extend.before", "queue.extend.after"):
        orders.grow(1)
        _dead(daemon, point, lambda: orders.drive(daemon))
    daemon.start()
    until(lambda: orders.left() == 0, "the queue is empty", within=90, show=orders.left)
    _prove(daemon, witness, orders.out, orders.sent)
    assert daemon.stop() == 0


class Sender:
    """Brings events to a hook, each with its own key, and remembers which were answered."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.answered: set[str] = set()
        self.unheard: list[str] = []
        self._next = 0

    def send(self, key: str = "") -> None:
        """Bring one event; nobody may answer."""
        if not key:
            key, self._next = f"e{self._next}", self._next + 1
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            response = requests.post(
                f"{self._daemon.url}/hooks/{_NAME}",
                json={"text": key},
                headers=headers,
                timeout=10,
            )
        except requests.RequestException:
            self.unheard.append(key)
            return
        assert response.status_code == 202, response.text
        self.answered.add(key)


@pytest.mark.slow
def test_killed_between_a_request_and_its_answer(
    daemon: Daemon, witness: Witness, tmp_path: Path
) -> None:
    """What was answered is in the ledger, however soon after it the daemon died."""
    out = tmp_path / "out"
    file = _file(out, "t ${{ event.id }}", kind="webhook", signature="none")
    sender = Sender(daemon)

    def drive() -> None:
        with suppress(Gone):
            if not daemon.triggers():
                daemon.apply(file)
            sender.send()

    points = ["hook.packed=2", *_points("inbox", count=2), "hook.taken=2", *_points("settle")]
    for point in points:
        _dead(daemon, point, drive)
    before = len(sender.unheard)
    assert before >= 4, "some died before their answer"
    daemon.start()
    for key in [*sender.unheard, *list(sender.answered)[:3]]:
        sender.send(key)
    assert len(sender.unheard) == before
    _prove(daemon, witness, out, sender.answered)
    assert daemon.stop() == 0
