"""Streams from Kafka under fire, at a size for every test run; `make soak` does it in full."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.kafka import Plan, Soak
from tests.soak.modes import MODES
from tests.support.kafka import Kafka


@pytest.fixture(scope="module")
def broker(kafka: Kafka) -> Iterator[Kafka]:
    """A broker of our own, to be killed; made only where one can be had."""
    own = Kafka.single()
    yield own
    own.close()


@pytest.mark.large
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost_or_twice(broker: Kafka, tmp_path: Path, mode: str) -> None:
    """Daemon, broker and node are killed while records stream: afterwards runs that succeeded
    cover every offset, in ranges that tile, and the tasks have counted what was produced."""
    plan = Plan(
        mode=mode,
        seed=random.randrange(2**32),
        records=6_000,
        partitions=4,
        kills=2,
        broker_restarts=1,
        node_restarts=1,
        max_records=1_000,
        life=12,
        within=600,
    )
    print(plan)
    result = Soak(plan, broker, tmp_path, print).run()
    print(result)
    assert result.produced == plan.records
