"""What the values make of answers that are odd, old or hostile."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import bacalhau_client as bc
from bacalhau_client import BacalhauClient, ComputeState, DesiredState, JobStateType

JOB: dict[str, Any] = {"ID": "j-1", "State": {"StateType": "Running"}}


@pytest.fixture
def read(
    connect: Callable[..., BacalhauClient],
    http_server: Callable[..., Any],
    answer: Callable[..., Any],
) -> Callable[[object], bc.JobInfo]:
    """Gets a job from a node that answers with this JSON."""

    def get(value: object) -> bc.JobInfo:
        server = http_server(answer(200, json.dumps(value).encode()))
        return connect(server.url).jobs.get("j-1")

    return get


def test_missing_and_null_fields_are_empty(read: Callable[[object], bc.JobInfo]) -> None:
    """Only an id and a state are needed of a job; null is as good as missing."""
    keys = ["Name", "Labels", "Meta", "Tasks", "Version", "CreateTime", "Constraints", "Count"]
    for job in (JOB, JOB | dict.fromkeys(keys)):
        info = read({"Job": job, "Executions": None})
        assert (info.job.name, info.job.version, info.job.tasks) == ("", 0, ())
        assert (info.job.labels, info.job.meta, info.job.orchestrator_id) == ({}, {}, "")
        assert info.job.created_at is None
        assert (info.executions, info.history) == (None, None)


def test_unknown_fields_and_states_are_tolerated(read: Callable[[object], bc.JobInfo]) -> None:
    """A newer node's words and numbers are kept, not refused."""
    execution = {
        "ID": "e-1",
        "ComputeState": {"StateType": 77},
        "DesiredState": {"StateType": 9},
        "RunOutput": None,
        "New": [1],
    }
    job = JOB | {"State": {"StateType": "Sleeping"}, "New": {}}
    info = read({"Job": job, "Executions": {"Items": [execution], "New": 1}})
    assert (info.job.state.type, info.job.state.name) == (JobStateType.UNKNOWN, "Sleeping")
    assert not info.job.state.is_terminal
    assert info.executions is not None
    (found,) = info.executions
    assert (found.compute_state, found.compute_state.name) == (77, "UNKNOWN_77")
    assert not found.compute_state.is_terminal
    assert (found.desired_state, found.desired_state.name) == (9, "UNKNOWN_9")
    assert found.run_output is None


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({}, r"answer\.Job: missing"),
        ({"Job": None}, r"answer\.Job: missing"),
        ({"Job": []}, r"answer\.Job: expected an object, got a list"),
        ({"Job": {}}, r"Job\.State\.StateType: missing"),
        ({"Job": {"State": {"StateType": "Running"}}}, r"Job\.ID: missing"),
        ({"Job": JOB | {"State": {"StateType": 3}}}, r"StateType: expected a string, got a num"),
        ({"Job": JOB | {"Version": "1"}}, r"Version: expected an integer, got a string"),
        ({"Job": JOB | {"Version": True}}, r"Version: expected an integer, got a boolean"),
        ({"Job": JOB | {"Version": 1.5}}, r"Version: expected an integer, got a number"),
        ({"Job": JOB | {"ID": "j\0"}}, r"Job\.ID: control characters"),
        ({"Job": JOB | {"Labels": {"a": 1}}}, r"Labels\.a: expected a string"),
        ({"Job": JOB | {"Labels": []}}, r"Labels: expected an object"),
        ({"Job": JOB | {"Tasks": {}}}, r"Tasks: expected a list, got an object"),
        ({"Job": JOB | {"Tasks": [None]}}, r"Tasks\[0\]: expected an object, got null"),
        ({"Job": JOB, "Executions": {}}, r"Executions\.Items: missing"),
        ({"Job": JOB, "Executions": {"Items": [{}]}}, r"Items\[0\]\.ID: missing"),
        (
            {"Job": JOB, "Executions": {"Items": [{"ID": "e", "RunOutput": {"ExitCode": "0"}}]}},
            r"RunOutput\.ExitCode: expected an integer",
        ),
        (
            {"Job": JOB, "Executions": {"Items": [{"ID": "e", "RunOutput": {"Stdout": 1}}]}},
            r"RunOutput\.Stdout: expected a string",
        ),
        (
            {
                "Job": JOB,
                "Executions": {"Items": [{"ID": "e", "RunOutput": {"StdoutTruncated": 1}}]},
            },
            r"StdoutTruncated: expected true or false",
        ),
        ({"Job": JOB, "History": {"Items": [{"Time": "noon"}]}}, r"Time: not an RFC 3339"),
    ],
)
def test_another_shape_is_malformed_and_the_place_is_named(
    value: object, place: str, read: Callable[[object], bc.JobInfo]
) -> None:
    """A body of another shape is one error, never a KeyError or a wrong value."""
    with pytest.raises(bc.MalformedResponse, match=place):
        read(value)


def test_text_is_always_encodable(read: Callable[[object], bc.JobInfo]) -> None:
    """Lone surrogates, which no UTF-8 file or database takes, are replaced."""
    job = read({"Job": JOB | {"Name": "a\ud800ü", "Labels": {"k": "\udfff"}}}).job
    assert job.name.startswith("a\ufffd")
    assert job.name.endswith("ü")
    assert job.labels["k"].encode()


def test_times_keep_their_nanoseconds(read: Callable[[object], bc.JobInfo]) -> None:
    """History times in any zone and precision are nanoseconds since the epoch."""
    times = {
        "2026-11-21T09:28:39.21910734Z": 1_795_253_319_219_107_340,
        "2026-11-21T09:28:39Z": 1_795_253_319_000_000_000,
        "2026-11-21T10:28:39.000000001+01:00": 1_795_253_319_000_000_001,
        "1969-12-31T23:59:59.999999999Z": -1,
        "0001-01-01T00:00:00Z": 0,
        None: 0,
    }
    events = [{"Time": text} for text in times]
    info = read(
        {"Job": JOB | {"CreateTime": 1_795_253_319_219_107_340}, "History": {"Items": events}}
    )
    assert info.history is not None
    assert [event.time for event in info.history] == list(times.values())
    first = datetime(2026, 11, 21, 9, 28, 39, 219107, tzinfo=UTC)
    assert info.history.items[0].happened_at == first
    assert info.job.created_at == first


@pytest.mark.parametrize("time", [10**30, -(10**30), 10**18 * 9_000])
def test_times_beyond_any_calendar_are_none(
    time: int, read: Callable[[object], bc.JobInfo]
) -> None:
    """A time that no datetime holds does not break whoever shows it."""
    assert read({"Job": JOB | {"ModifyTime": time}}).job.modified_at is None


def test_states_tell_whether_they_end() -> None:
    """Terminal states are those that a job or an execution does not leave by itself."""
    assert {state.name for state in JobStateType if state.is_terminal} == {
        "COMPLETED",
        "FAILED",
        "STOPPED",
    }
    assert {int(state) for state in ComputeState if state.is_terminal} == {4, 8, 9, 10, 11}
    assert DesiredState(2) is DesiredState.STOPPED
    with pytest.raises(ValueError, match="running"):
        ComputeState("running")
