"""Many triggers on one cluster: threads and connections are those of one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from connectors.kafka.connection import Flavour
from tests.support.kafka import Kafka
from tests.support.kafkasources import Played, numbered
from tests.support.scriptedkafka import want


def connections(port: int) -> int:
    """Established connections of this process to a port of this machine."""
    count = 0
    mine = {
        Path(f"/proc/self/fd/{fd.name}").readlink().name
        for fd in Path("/proc/self/fd").iterdir()
        if fd.is_symlink()
    }
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        remote, state, inode = fields[2], fields[3], fields[9]
        established = state == "01" and int(remote.rpartition(":")[2], 16) == port
        count += established and f"socket:[{inode}]" in mine
    return count


@pytest.mark.parametrize(
    "client", [pytest.param("kafka-python", marks=pytest.mark.large), "confluent"]
)
def test_500_partitions_over_20_topics(
    kafka: Kafka, tmp_path: Path, client: Flavour, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 triggers in two modes share one client: no thread and no connection more than one needs,
    and every partition is planned."""
    topics = [kafka.topic(25) for _ in range(20)]
    for topic in topics:
        for number in range(0, 25, 6):
            kafka.produce(topic, number, numbered(3))
    port = int(kafka.bootstrap.rpartition(":")[2])
    threads, held = threading.active_count(), connections(port)
    played = [
        Played(
            kafka,
            tmp_path,
            topic,
            client=client,
            **({"mode": "follow"} if n % 4 == 0 else {"max_wait": 0}),
        )
        for n, topic in enumerate(topics)
    ]
    try:
        found = [one.discover() for one in played]
        assert sum(len(one.partitions) for one in found) == 500
        for one in played:
            if one.settings.mode == "range":
                one.until(dict.fromkeys(range(0, 25, 6), 3))
            else:
                wants = [want(name, 0) for name in one.planned]
                assert len(one.source.poll(wants, 0)) == 5
        more_threads = threading.active_count() - threads
        more_connections = connections(port) - held
    finally:
        for one in played:
            one.close()
    with capsys.disabled():
        print(f"\n{client}: {more_threads} threads, {more_connections} connections", flush=True)
    assert more_threads <= 2
    assert more_connections <= 4
