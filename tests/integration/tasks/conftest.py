"""The sample tasks' environment, as a run of the orchestrator fills it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.kafka.sockets import close_everything
from tests.support.kafka import Kafka

Told = tuple[int, dict[str, Any], str]
Run = Callable[..., Told]


def tidy_consumer(options: Mapping[str, Any]) -> Any:
    """kafka-python's consumer. A task's process ends with its sockets; this one goes on."""
    from kafka import KafkaConsumer

    consumer: Any = KafkaConsumer(**options)
    close_everything(consumer._client)
    return consumer


@pytest.fixture
def environment(kafka: Kafka) -> Callable[..., dict[str, str]]:
    """Makes the variables of a task that reads partition 0 of a topic."""

    def make(topic: str, start: int, end: int | None = None, **more: str) -> dict[str, str]:
        deadline = datetime.now(UTC) + timedelta(seconds=40)
        variables = {
            "KAFKA_BROKERS": kafka.bootstrap,
            "KAFKA_TOPIC": topic,
            "KAFKA_PARTITION": "0",
            "KAFKA_START": str(start),
            "KAFKA_GROUP": f"group-of-{topic}",
            "ORCH_TRIGGER": "logs",
            "ORCH_RUN_ID": "r1",
            "ORCH_ATTEMPT": "1",
            "ORCH_DEADLINE": deadline.isoformat(timespec="seconds"),
        }
        return {**variables, **({} if end is None else {"KAFKA_END": str(end)}), **more}

    return make


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a task's `main`: its exit code, the line it wrote, and its errors."""

    def run(main: Callable[..., int], variables: Mapping[str, str], **options: Any) -> Told:
        code = main(variables, **{"connect": tidy_consumer, **options})
        got = capsys.readouterr()
        return code, json.loads(got.out or "{}"), got.err

    return run
