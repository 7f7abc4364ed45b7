"""From a real broker to jobs: several triggers on one topic, a broker that goes, many topics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode
from connectors.kafka import cluster_confluent, cluster_python
from connectors.kafka.cluster import Cluster, TopicPartition, shared
from connectors.kafka.connection import Connection
from orchestrator.store.sources import SourceState
from tests.support.daemon import Daemon
from tests.support.inprocess import Orch
from tests.support.jobs import IMAGE
from tests.support.kafka import Kafka
from tests.support.kafkajobs import given
from tests.support.ranges import ranges_tile
from tests.support.streamview import shown, until_done, until_source
from tests.support.waiting import until

Start = Callable[..., Orch]
# One trigger for each mode, and the fast client for good measure.
_MODES: dict[str, dict[str, Any]] = {
    "range": {"mode": "range", "poll": "50ms", "max_wait": 0, "max_records": 50},
    "follow": {"mode": "follow", "poll": "50ms", "life": "10s", "idle_exit": "2s"},
    "buffer": {"mode": "buffer", "max_age": "100ms", "max_records": 50},
    "fast": {"mode": "buffer", "max_age": "100ms", "max_records": 50, "client": "confluent"},
}
_RETRY = {"max_attempts": 30, "backoff": {"initial": "100ms", "max": "1s"}}


def _register(orch: Orch, topic: str, kafka: Kafka) -> None:
    for name, settings in _MODES.items():
        more = settings | {"retry": _RETRY, "stop_grace": "0s"}
        orch.register(given("kafka", name, topic, kafka.bootstrap, **more))


def _all_done(orch: Orch, ends: dict[str, int]) -> None:
    """Each trigger by itself has read everything, in ranges that tile, and counted it once."""
    for name in _MODES:
        until_done(orch, name, ends, within=120)
    orch.pause(*_MODES)
    orch.drained(within=60)
    for name in _MODES:
        runs = shown(orch, name)
        ranges_tile(runs, ends)
        if name != "follow":  # one whose broker went away has told nothing of what it has done
            last = [json.loads(run["attempts"][-1]["stdout"]) for run in runs]
            assert sum(told["count"] for told in last) == sum(ends.values()), name
    orch.audit()


def test_triggers_on_one_topic_do_not_disturb_each_other(start: Start, kafka: Kafka) -> None:
    """In every mode, by both clients, on the same partitions: each reads everything, and tells a
    group of its own."""
    topic = kafka.topic(2)
    orch = start()
    for number in range(2):
        kafka.produce(topic, number, [b"value"] * 100)
    _register(orch, topic, kafka)
    for name in _MODES:
        until_done(orch, name, dict.fromkeys([f"{topic}/0", f"{topic}/1"], 100), within=120)
    for number in range(2):
        kafka.produce(topic, number, [b"value"] * 30)
    _all_done(orch, dict.fromkeys([f"{topic}/0", f"{topic}/1"], 130))
    cluster = shared(Connection(brokers=(kafka.bootstrap,)))
    try:
        for name in _MODES:
            group = f"orch.{orch.app.database.instance}.{name}.{orch.app.triggers.get(name).uid}"
            _until_told(cluster, group, [TopicPartition(topic, number) for number in range(2)], 130)
    finally:
        cluster.close()


def _until_told(cluster: Cluster, group: str, places: list[TopicPartition], end: int) -> None:
    def told() -> bool:
        found = cluster.committed(group, places)
        return [found[place].offset for place in places if place in found] == [end] * len(places)

    until(told, f"{group} was told {end}")


@pytest.fixture(scope="module")
def broker(kafka: Kafka) -> Iterator[Kafka]:
    """A broker of our own, to be stopped; made only where one can be had."""
    own = Kafka.single()
    yield own
    own.close()


def test_a_broker_that_hangs(
    start: Start, kafka: Kafka, broker: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leads, takes connections and answers nobody: questions time out and its triggers say so,
    with either client, while one on another broker goes on. When it answers again they go on by
    themselves, and nothing is left out."""
    for module in (cluster_python, cluster_confluent):
        monkeypatch.setattr(module, "TIMEOUT", 3)
    topic, other = broker.topic(), kafka.topic()
    hung, well = {f"{topic}/0": 0}, {f"{other}/0": 0}

    def grow(where: Kafka, ends: dict[str, int]) -> None:
        for name in ends:
            where.produce(name[:-2], 0, [b"value"] * 20)
            ends[name] += 20

    grow(broker, hung)
    grow(kafka, well)
    orch = start()
    for name in ("range", "fast"):
        orch.register(given("kafka", name, topic, broker.bootstrap, **_MODES[name]))
    orch.register(given("kafka", "well", other, kafka.bootstrap, **_MODES["range"]))
    for name in ("range", "fast"):
        until_done(orch, name, hung)
    with broker.brokers[0].hanging():
        for name in ("range", "fast"):
            until_source(orch, name, SourceState.UNAVAILABLE)
        grow(kafka, well)
        until_done(orch, "well", well)
    grow(broker, hung)
    for name in ("range", "fast"):
        until_done(orch, name, hung)
        until_source(orch, name, SourceState.OK)
    orch.audit()


def test_a_broker_that_is_away_and_comes_back(start: Start, broker: Kafka) -> None:
    """Every source says so and loses nothing; when the broker is back all go on by themselves."""
    topic = broker.topic(2)
    ends = dict.fromkeys([f"{topic}/0", f"{topic}/1"], 0)

    def grow() -> None:
        for name in ends:
            broker.produce(topic, int(name[-1]), [b"value"] * 60)
            ends[name] += 60

    orch = start()
    grow()
    _register(orch, topic, broker)
    for name in _MODES:
        until_done(orch, name, ends, within=120)
    grow()
    with broker.down(kill=True):
        for name in _MODES:
            said = until_source(orch, name, SourceState.UNAVAILABLE)
            assert broker.bootstrap in said
    grow()
    for name in _MODES:
        until_source(orch, name, SourceState.OK, within=90)
    _all_done(orch, ends)


def _connections(pid: int, port: int) -> int:
    """Established connections of a process to a port of this machine."""
    mine: set[str] = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            mine.add(descriptor.readlink().name)
        except OSError:
            continue  # closed meanwhile
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        1
        for f in fields
        if f[3] == "01" and int(f[2].rpartition(":")[2], 16) == port and f"socket:[{f[9]}]" in mine
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "threads", "connections"),
    [
        # One client for all, whoever asks; a reader of its own for each buffer.
        pytest.param({"mode": "range", "max_wait": 0}, 50, 2, id="range"),
        pytest.param(
            {"mode": "follow", "client": "confluent"}, 55, 4, id="follow", marks=pytest.mark.large
        ),
        pytest.param(
            {"mode": "buffer", "max_age": "100ms"},
            50 + 5 * 20,
            2 + 2 * 20,
            id="buffer",
            marks=pytest.mark.large,
        ),
        pytest.param(
            {"mode": "buffer", "max_age": "100ms", "client": "confluent"},
            55 + 9 * 20,
            4 + 3 * 20,
            id="buffer, confluent",
            marks=pytest.mark.large,
        ),
    ],
)
def test_500_partitions_over_20_topics(
    kafka: Kafka,
    node: DevNode,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    threads: int,
    connections: int,
) -> None:
    """One orchestrator reads them all, with threads and connections that are bounded by the number
    of triggers, never by that of partitions."""
    topics = [kafka.topic(25) for _ in range(20)]
    for topic in topics:
        kafka.produce_all(topic, {number: [b"value"] for number in (0, 24)})
    engine = {
        "Type": "docker",
        "Params": {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": ["exit 0"]},
    }
    job = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine}]}
    daemon = Daemon(tmp_path / "orch", node.url, pycache=tmp_path / "pycache")
    try:
        daemon.start()
        for number, topic in enumerate(topics):
            more = settings | {"job": job}
            daemon.apply(given("kafka", f"logs-{number}", topic, kafka.bootstrap, **more))

        def planned() -> bool:
            places = daemon.call("GET", "/api/v1/checkpoints")["items"]
            return len(places) == 500 and len(daemon.runs()) >= 40

        until(planned, "all are planned", within=120, show=lambda: daemon.said()[-2000:])
        pid = daemon.pid
        has = len(list(Path(f"/proc/{pid}/task").iterdir()))
        holds = _connections(pid, int(kafka.bootstrap.rpartition(":")[2]))
        with capsys.disabled():
            print(f"\n500 partitions, {settings}: {has} threads, {holds} connections", flush=True)
        assert has <= threads
        assert holds <= connections
        assert daemon.stop() == 0
    finally:
        daemon.close()
