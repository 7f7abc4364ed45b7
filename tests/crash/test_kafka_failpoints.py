"""The daemon dies at the named points of streams from Kafka, one after the other.

Afterwards the ranges in the ledger tile, each ran once (a follower's records at least once), and
what was produced is done.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.store import backup
from tests.soak import follower
from tests.support import checker
from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness, lines
from tests.support.jobs import IMAGES
from tests.support.kafka import Kafka
from tests.support.kafkajobs import given, kafka_shell
from tests.support.proxy import Proxy
from tests.support.ranges import Runs, ranges_tile
from tests.support.waiting import until

_NAME = "logs"
_PARTITIONS = 2
_POISON = 3  # its place in each range of ten
_HANG = "hang"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    """A dev node whose followers keep what they have processed."""
    follow = shlex.join([sys.executable, follower.__file__, str(tmp_path)])
    # One of them hangs before it reads anything, where a test has asked for that.
    script = (
        f"if rm {shlex.quote(str(tmp_path / _HANG))} 2>&-; then exec sleep 300; fi; exec {follow}"
    )
    command = shlex.join(["sh", "-c", script])
    config = DevNodeConfig(
        data_dir=tmp_path / "node",
        images={**IMAGES, "orch/kafka-follow:1": command},
        local_allow=(str(tmp_path),),
        docker=False,
        capacity=8,
    )
    with DevNode(config) as node:
        yield node


class Stream:
    """A topic that grows, and the trigger on it."""

    def __init__(self, kafka: Kafka, make: Callable[..., str], place: Path, **more: Any) -> None:
        self._kafka = kafka
        self.topic = kafka.topic(_PARTITIONS)
        self.ends = {f"{self.topic}/{number}": 0 for number in range(_PARTITIONS)}
        self.out = place / "out"
        self.file = make(self, kafka.bootstrap, **more)
        self._looks = 0

    def grow(self, count: int = 20) -> None:
        """More records in each partition."""
        values = {number: [b"value"] * count for number in range(_PARTITIONS)}
        self._kafka.produce_all(self.topic, values)
        self.ends = {name: end + count for name, end in self.ends.items()}

    def drive(self, daemon: Daemon) -> None:
        """Register, and let more records come now and then; the daemon may die of it."""
        self._looks += 1
        if self._looks % 20 == 0:
            self.grow(1)
        with suppress(Gone):
            if not daemon.triggers():
                daemon.apply(self.file)


def _shell(stream: Stream, brokers: str, script: str = "exit 0", **more: Any) -> str:
    more = {"max_records": 10} | more
    return kafka_shell(_NAME, stream.topic, brokers, stream.out, script, **more)


def _follow(stream: Stream, brokers: str, **more: Any) -> str:
    return given("kafka", _NAME, stream.topic, brokers, mode="follow", poll="50ms", **more)


def _points(label: str, *, count: int = 1) -> list[str]:
    return [f"commit.{label}.before={count}", f"commit.{label}.after={count}"]


def _die(daemon: Daemon, stream: Stream, point: str) -> None:
    """Start the daemon and let it come to its point."""
    stream.grow()
    daemon.start(point)

    def dead() -> bool:
        if daemon.alive:
            stream.drive(daemon)
        return not daemon.alive

    until(dead, f"death at {point}", within=60, show=lambda: daemon.said()[-3000:])
    assert daemon.exit_code == -9, daemon.said()[-3000:]


def _finish(daemon: Daemon, stream: Stream) -> Runs:
    """Start it without a failpoint, and wait until all is done and has ended."""
    stream.grow()
    daemon.start()
    with suppress(Gone):
        stream.drive(daemon)

    def at() -> Mapping[str, int]:
        found = daemon.call("GET", "/api/v1/checkpoints", trigger=_NAME)["items"]
        return {item["partition"]: int(item["done"]) for item in found}

    def still_open() -> list[Any]:
        return [run for run in daemon.runs() if run["ended_at"] is None]

    def show() -> Any:
        return stream.ends, at(), still_open(), daemon.said()[-3000:]

    until(lambda: at() == stream.ends and not still_open(), "all is done", within=90, show=show)
    return daemon.runs()


def _prove(daemon: Daemon, witness: Witness, runs: Runs) -> None:
    audit = daemon.call("GET", "/api/v1/audit")
    assert audit["ok"], audit["findings"]
    checker.runs_have_ended(runs)
    checker.jobs_match_ledger(witness.jobs(), runs)


def _once_each(out: Path, spans: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """Each range was given to one task, and to it alone."""
    told = Counter(tuple(line.split()[2:]) for line in lines(out))
    wanted = {
        (name.rpartition("/")[2], str(start), str(end))
        for name, mine in spans.items()
        for start, end in mine
    }
    assert told.keys() == wanted
    assert set(told.values()) == {1}, told.most_common(3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["range", "buffer"])
def test_killed_while_planning(
    daemon: Daemon, witness: Witness, kafka: Kafka, tmp_path: Path, mode: str
) -> None:
    """Between what the source yields, the commit that takes it in, and what follows."""
    more: dict[str, Any] = {"mode": mode}
    points = [
        *_points("source"),
        *_points("partitions"),
        *("stream.polled=2", *_points("batch", count=2), "stream.taken=2"),
    ]
    if mode == "buffer":
        more |= {"storage": str(tmp_path / "files"), "keep": "0s", "max_age": "100ms"}
        points += _points("sweep")
    stream = Stream(kafka, _shell, tmp_path, **more)
    for point in points:
        _die(daemon, stream, point)
    runs = _finish(daemon, stream)
    _prove(daemon, witness, runs)
    _once_each(stream.out, ranges_tile(runs, stream.ends))
    assert daemon.stop() == 0


@pytest.mark.slow
def test_killed_while_a_dead_run_is_halved(
    daemon: Daemon, witness: Witness, kafka: Kafka, tmp_path: Path
) -> None:
    """Around the commits that put two halves in a run's place and release what is left of it."""
    script = (
        "n=$START; while [ $n -lt $END ]; do "
        f"[ $((n % 10)) != {_POISON} ] || exit 9; n=$((n+1)); done"
    )
    stream = Stream(
        kafka, _shell, tmp_path, script=script, on_dead="bisect", retry={"max_attempts": 1}
    )
    for point in [*_points("split", count=2), *_points("keep", count=2)]:
        _die(daemon, stream, point)
    runs = _finish(daemon, stream)
    _prove(daemon, witness, runs)
    ranges_tile(runs, stream.ends, states={"succeeded", "dead"})
    dead = {(r["partition"], int(r["range"]["start"])): r for r in runs if r["state"] == "dead"}
    assert dead.keys() == {
        (name, offset) for name, end in stream.ends.items() for offset in range(_POISON, end, 10)
    }
    for (_, offset), run in dead.items():
        assert run["range"]["end"] == str(offset + 1)
        assert run["kept"]["record"]["offset"] == offset
        assert run["released"]
        assert not run["discarded"]
    told = Counter(tuple(line.split()[:2]) for line in lines(stream.out))
    assert set(told.values()) == {1}, told.most_common(3)
    assert daemon.stop() == 0


@pytest.mark.slow
def test_killed_while_progress_is_copied(
    daemon: Daemon, witness: Witness, kafka: Kafka, tmp_path: Path
) -> None:
    """Between reading what followers have committed and the store; no record is left out."""
    stream = Stream(kafka, _follow, tmp_path, life="10s", idle_exit="1s", stop_grace="1s")
    for point in ["life.read=2", *_points("progress"), "life.copied"]:
        _die(daemon, stream, point)
    runs = _finish(daemon, stream)
    _prove(daemon, witness, runs)
    ranges_tile(runs, stream.ends)
    for name, end in stream.ends.items():
        seen = follower.processed(tmp_path, int(name.rpartition("/")[2]))
        assert seen.keys() == set(range(end)), name
        assert set(seen.values()) == {1}, "nobody was killed but the daemon"
    assert daemon.stop() == 0


@pytest.mark.slow
def test_killed_while_a_life_is_replaced(
    daemon: Daemon, witness: Witness, kafka: Kafka, tmp_path: Path
) -> None:
    """Around the commit that gives up a follower which does not get on."""
    stream = Stream(
        kafka, _follow, tmp_path, life="5m", idle_exit="1s", stall_after="5s", stop_grace="1s"
    )
    (tmp_path / _HANG).touch()
    for point in _points("stall"):
        _die(daemon, stream, point)
    runs = _finish(daemon, stream)
    _prove(daemon, witness, runs)
    ranges_tile(runs, stream.ends)
    replaced = [a for run in runs for a in run["attempts"] if "stalled" in (a["reason"] or "")]
    assert len(replaced) == 1, replaced
    for name, end in stream.ends.items():
        seen = follower.processed(tmp_path, int(name.rpartition("/")[2]))
        assert seen.keys() == set(range(end)), name
    assert daemon.stop() == 0


@pytest.mark.slow
def test_killed_while_runs_found_after_a_restore_take_their_places(
    daemon: Daemon, witness: Witness, kafka: Kafka, proxy: Proxy, pycache: Path, tmp_path: Path
) -> None:
    """Around the commit that gives a place to what the cluster has done since the backup."""
    stream = Stream(kafka, _shell, tmp_path)
    daemon.start()
    stream.drive(daemon)
    until(lambda: len(daemon.call("GET", "/api/v1/checkpoints")["items"]) == 2, "they are found")
    saved = tmp_path / "backup.db"
    saved.write_bytes(requests.get(f"{daemon.url}/api/v1/backup", timeout=30).content)
    stream.grow()
    until(lambda: len(lines(stream.out)) == 2 * _PARTITIONS, "four ranges are done")
    daemon.kill()
    restored = tmp_path / "restored"
    backup.restore(saved, restored, copy=False)
    shutil.copy(daemon.data_dir / "orch.key", restored / "orch.key")
    again = Daemon(restored, proxy.url, pycache=pycache)
    try:
        for point in _points("absorb"):
            again.start(point)
            until(lambda: not again.alive, f"death at {point}", within=60, show=again.said)
            assert again.exit_code == -9, again.said()[-3000:]
        runs = _finish(again, stream)
        _prove(again, witness, runs)
        _once_each(stream.out, ranges_tile(runs, stream.ends))
        assert again.stop() == 0
    finally:
        again.close()
