"""The daemon dies between a message of MQTT and its run, and between its run and the broker.

Afterwards every message that carries an id, and every message of QoS 2, is in exactly one run; a
message of QoS 1 without an id is in at least one.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import checker
from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness, lines
from tests.support.jobs import IMAGE, NEVER, shell
from tests.support.mosquitto import Mosquitto, Peer
from tests.support.waiting import until

_NAME = "sensors"
_numbers = itertools.count(1)
_TOLD = ["queue.tell.before", "queue.tell.after"]
_POINTS = ["queue.polled=2", "commit.inbox.after=2", *_TOLD]


class Sensors:
    """Topics on which more and more is published, and the trigger on them."""

    def __init__(self, broker: Mosquitto, out: Path, qos: int, settings: dict[str, Any]) -> None:
        self._root = f"crash/{next(_numbers)}"
        self._qos = qos
        self._peer: Peer = broker.peer()
        self._looks = 0
        self.sent: set[str] = set()
        self.out = out
        params = {
            "Image": IMAGE,
            "Entrypoint": ["/bin/sh", "-c"],
            "Parameters": ['echo "$ORCH_RUN_ID $TEXT" >> "$OUT"'],
        }
        task = {
            "Name": "main",
            "Engine": {"Type": "docker", "Params": params},
            "Env": {"TEXT": "t ${{ event.body }}", "OUT": str(out)},
        }
        document = {
            "apiVersion": "orch/v1",
            "kind": "mqtt",
            "name": _NAME,
            "broker": broker.url,
            "topic": f"{self._root}/#",
            "qos": qos,
            "batch_size": 1,
            "job": {"Type": "batch", "Tasks": [task]},
        }
        self.file = json.dumps({**document, **settings})

    def grow(self, count: int = 4) -> None:
        """More messages."""
        for _ in range(count):
            body = f"m{len(self.sent)}"
            self._peer.publish(f"{self._root}/a", [body], qos=self._qos, properties=[("id", body)])
            self.sent.add(body)

    def drive(self, daemon: Daemon) -> None:
        """Register, and let more come now and then; the daemon may die of it."""
        self._looks += 1
        if self._looks % 40 == 0:
            self.grow(1)
        with suppress(Gone):
            if not daemon.triggers():
                daemon.apply(self.file)

    def close(self) -> None:
        self._peer.close()


@pytest.fixture
def sensors(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Callable[..., Sensors]]:
    """A broker that outlives every daemon."""
    made: list[Sensors] = []

    def make(qos: int, settings: dict[str, Any]) -> Sensors:
        made.append(Sensors(mosquitto, tmp_path / "out", qos, settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("qos", "settings", "points", "once"),
    [
        (1, {"id": {"property": "id"}}, _POINTS, True),
        (1, {"id": {"property": "id"}, "ack": "on_success"}, _TOLD, True),
        (2, {}, _POINTS, True),
        (1, {}, _TOLD, False),
    ],
    ids=["ids", "ids on_success", "qos 2", "qos 1"],
)
def test_killed_between_a_broker_and_its_runs(
    daemon: Daemon,
    witness: Witness,
    sensors: Callable[..., Sensors],
    qos: int,
    settings: dict[str, Any],
    points: list[str],
    once: bool,
) -> None:
    """From a message that was received to one of which the broker was told."""
    mine = sensors(qos, settings)
    daemon.start()
    mine.drive(daemon)

    def listening() -> bool:
        # Until there is a session nobody keeps anything.
        mine.grow(1)
        return bool(daemon.runs())

    until(listening, "the first run is there", within=60)
    daemon.stop()
    early = set(mine.sent)
    for point in points:
        mine.grow()
        daemon.start(point)

        def dead() -> bool:
            if daemon.alive:
                mine.drive(daemon)
            return not daemon.alive

        until(dead, f"death at {point}", within=60, show=lambda: daemon.said()[-3000:])
        assert daemon.exit_code == -9, daemon.said()[-3000:]
    mine.grow()
    daemon.start()
    expected = mine.sent - early

    def handled() -> set[str]:
        return {line.split()[-1] for line in lines(mine.out)}

    until(lambda: expected <= handled(), "all are handled", within=90, show=handled)
    runs = daemon.drained(within=90)
    audit = daemon.call("GET", "/api/v1/audit")
    assert audit["ok"], audit["findings"]
    checker.runs_have_ended(runs)
    checker.jobs_match_ledger(witness.jobs(), runs)
    counts = Counter(line.split()[-1] for line in lines(mine.out))
    if once:
        assert set(counts.values()) == {1}, counts.most_common(3)
        assert len(runs) == len(counts)
    else:
        assert sum(counts.values()) - len(counts) <= len(points), counts.most_common(9)
    assert daemon.stop() == 0


@pytest.mark.slow
def test_killed_between_the_broker_and_what_it_was_told(
    daemon: Daemon, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """The state of a run that a broker has is the state that it is in, whoever died."""
    (daemon.data_dir.parent / "orch.yaml").write_text(f"announce: {mosquitto.url}\n")
    file = shell("announced", f"while test ! -e {tmp_path}/go; do sleep 0.05; done", at=NEVER)
    daemon.start()
    daemon.apply(file)
    daemon.stop()
    daemon.start("announcing.told=2")
    with suppress(Gone):
        daemon.call("POST", "/api/v1/triggers/announced/fire", {})
    until(lambda: not daemon.alive, "it died", within=60)
    (tmp_path / "go").touch()
    for point in ("commit.announced.before", "commit.announced.after"):
        daemon.start(point)
        until(lambda: not daemon.alive, f"death at {point}", within=60)
    daemon.start()
    [run] = daemon.drained(within=60)
    peer = mosquitto.peer()
    peer.subscribe(f"orch/+/runs/{run['id']}")

    def told() -> bool:
        said = json.loads(peer.messages.get(timeout=30).payload)
        return said["state"] == run["state"] == "succeeded"

    until(told, "the broker has its end")
    peer.close()
    assert daemon.stop() == 0
