"""The task that reads its range: on moto's server, and with a service that misbehaves."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest

import specs
from connectors.kinesis import KinesisConnector
from tests.integration.kinesis.conftest import Open
from tests.support.kinesis import Core

P = "shardId-000000000000"
KNOWN = specs.BASE_PATHS.extended(outside=tuple(KinesisConnector.value_paths))
ENVIRONMENT = {
    "KINESIS_STREAM": "clicks",
    "KINESIS_SHARD": P,
    "KINESIS_START": "10",
    "KINESIS_END": "30",
}


@pytest.fixture(scope="module")
def task() -> ModuleType:
    """The program of the image."""
    path = specs.task_images()["orch/kinesis-range:1"]
    found = importlib.util.spec_from_file_location("kinesis_range_task", path)
    assert found is not None
    assert found.loader is not None
    module = sys.modules[found.name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def rendered(values: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The one task of the job that a trigger without a job runs."""
    data = {"apiVersion": "orch/v1", "kind": "kinesis", "name": "t", "stream": "s", **settings}
    read = specs.parse_trigger(
        specs.from_data(data),
        settings={"kinesis": ("stream", "mode")}.get,
        default_job=specs.default_job,
    )
    job = specs.prepare(read, base_dir=None, known=KNOWN)
    template = specs.compile_template(job, known=KNOWN)
    result = template.render(
        {"trigger": {"name": "t"}, **values}, name="n", labels={}, env={}, timeouts=(1, 2)
    )
    return json.loads(result.body)["Job"]["Tasks"][0]


def test_the_default_job_reads_what_was_planned(
    kinesis: Any,
    stream: str,
    opened: Open,
    task: ModuleType,
    capsys: pytest.CaptureFixture[str],
):
    """From the plan by way of the rendered job to the count: no record more or less."""
    entries = [{"Data": b"x" * 10, "PartitionKey": str(number)} for number in range(50)]
    kinesis.put_records(StreamName=stream, Records=entries)
    desk = Core(lambda: opened(max_records=20, max_wait=0))
    desk.discover()
    desk.drain(wait=1)
    assert [batch.count for batch in desk.taken] == [20, 20, 10]
    for batch in desk.taken:
        environment = {**os.environ, **rendered(dict(batch.values))["Env"]}
        assert task.main(environment) == 0
        summary = json.loads(capsys.readouterr().out)
        assert (summary["count"], summary["bytes"]) == (batch.count, 10 * (batch.count or 0))


def test_a_buffered_file_is_counted_by_default():
    """Mode `buffer` has a task of its own, which needs no credentials."""
    assert rendered({}, mode="buffer")["Engine"]["Type"] == "wasm"


def test_the_job_gives_the_task_all_that_it_needs():
    """What the program asks for stands in the job."""
    values = {
        "kinesis": {
            "arn": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks",
            "shard": P,
            "start": "1",
            "end": "2",
            "endpoint": "https://kinesis.eu-central-1.amazonaws.com",
            "region": "eu-central-1",
        }
    }
    assert rendered(values)["Env"] == {
        "KINESIS_STREAM": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks",
        "KINESIS_SHARD": P,
        "KINESIS_START": "1",
        "KINESIS_END": "2",
        "KINESIS_ENDPOINT": "https://kinesis.eu-central-1.amazonaws.com",
        "AWS_REGION": "eu-central-1",
    }


class Scripted:
    """A client whose reads give these numbers, or raise these codes, one after the other."""

    def __init__(self, answers: Sequence[Sequence[int] | str | None]) -> None:
        self.answers = list(answers)
        self.places: list[tuple[str, str]] = []

    def get_shard_iterator(self, **question: Any) -> dict[str, Any]:
        self.places.append((question["ShardIteratorType"], question["StartingSequenceNumber"]))
        return {"ShardIterator": "i"}

    def get_records(self, **question: Any) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        assert question["ShardIterator"] == "i"
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            code, _, message = answer.partition(" ")
            status = 500 if code.startswith("Internal") else 400
            response: Any = {
                "Error": {"Code": code, "Message": message},
                "ResponseMetadata": {"HTTPStatusCode": status},
            }
            raise ClientError(response, "GetRecords")
        numbers: Sequence[int] = answer or ()
        records = [{"SequenceNumber": str(n), "Data": b"abc"} for n in numbers]
        more = None if answer is None else "i"
        behind = 1000 if self.answers else 0
        return {"Records": records, "NextShardIterator": more, "MillisBehindLatest": behind}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("answers", "code", "out"),
    [
        ([[10, 20, 30]], 0, '"count": 3, "bytes": 9'),
        ([[], [10], [], [20, 30, 40]], 0, '"count": 3'),
        ([[10], "ExpiredIteratorException", [20, 30]], 0, '"count": 3'),
        (["ProvisionedThroughputExceededException", [10, 30]], 0, '"count": 2'),
        ([[20, 30]], 64, "lost: the shard begins at 20"),
        ([[10, 20], []], 64, "lost: the shard ends before record 30"),
        ([[10], None], 64, "lost: the shard ends"),
        ([[40]], 64, "lost: the shard begins at 40"),
        (["ResourceNotFoundException Shard s in stream x does not exist"], 64, "lost"),
        (["ResourceNotFoundException Stream x not found."], 1, "not found"),
        (["AccessDeniedException no"], 1, "AccessDenied"),
        (["InternalFailure oh"], 75, "Internal"),
    ],
)
def test_how_a_read_ends(
    task: ModuleType,
    capsys: pytest.CaptureFixture[str],
    answers: Sequence[Sequence[int] | str | None],
    code: int,
    out: str,
):
    """An exact range or a clear word; what has expired is never taken for the range."""
    client = Scripted(answers)
    connect: Callable[[Any], Any] = lambda _: client  # noqa: E731 - what main takes
    assert task.main(ENVIRONMENT, connect=connect, pause=lambda _: None) == code
    printed = capsys.readouterr()
    assert out in (printed.err if code else printed.out)


def test_a_fresh_iterator_goes_on_behind_the_last_record(task: ModuleType):
    """Nothing is counted twice after an iterator has expired."""
    client = Scripted([[10, 20], "ExpiredIteratorException", [30]])
    assert task.main(ENVIRONMENT, connect=lambda _: client, pause=lambda _: None) == 0
    assert client.places == [("AT_SEQUENCE_NUMBER", "10"), ("AFTER_SEQUENCE_NUMBER", "20")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"KINESIS_STREAM": ""}, "KINESIS_STREAM is not set"),
        ({"KINESIS_START": "x"}, "KINESIS_START: 'x' is not a sequence number"),
        ({"KINESIS_START": "31"}, "ends before it starts"),
        ({"ORCH_DEADLINE": "soon"}, "ORCH_DEADLINE"),
    ],
)
def test_a_wrong_variable_is_named(
    task: ModuleType, capsys: pytest.CaptureFixture[str], changes: dict[str, str], words: str
):
    """Exit code 2, before anything is read."""
    assert task.main({**ENVIRONMENT, **changes}, connect=lambda _: Scripted([])) == 2
    assert words in capsys.readouterr().err


def test_the_task_leaves_in_time(task: ModuleType, capsys: pytest.CaptureFixture[str]):
    """At ORCH_DEADLINE, with a code that means try again."""
    late = {**ENVIRONMENT, "ORCH_DEADLINE": "2026-01-01T00:00:00Z"}
    assert task.main(late, connect=lambda _: Scripted([[10]]), pause=lambda _: None) == 75
    assert "ORCH_DEADLINE" in capsys.readouterr().err
