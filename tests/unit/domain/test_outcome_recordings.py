"""The verdict on every job that a real node was recorded with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client._build import build_job_info
from bacalhau_client._parse import Fields
from orchestrator.domain.outcome import Outcome, Verdict, judge
from orchestrator.services.observer import view

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"

OK, NO, RUN, WAIT, STOP = (
    Verdict.SUCCEEDED,
    Verdict.FAILED,
    Verdict.RUNNING,
    Verdict.WAITING,
    Verdict.STOPPED,
)

# (recording, number of the exchange) → (verdict, how the reason begins, exit code)
EXPECTED: dict[tuple[str, int], tuple[Verdict, str, int | None]] = {
    ("auth", 6): (WAIT, "", None),
    ("count", 1): (OK, "", 0),
    ("count", 3): (NO, "not enough nodes to run job. requested: 3, available: 2", None),
    ("count", 5): (NO, "exit 4 (partition 1 of 2)", 4),
    ("count", 8): (STOP, "the job ended as Stopped", None),
    ("exits", 1): (OK, "", -1),
    ("exits", 3): (OK, "", 0),
    ("exits", 5): (NO, "wasm error: unreachable", None),
    ("exits", 7): (NO, "wasm error: unreachable", None),
    ("exits", 9): (RUN, "", None),
    ("exits", 11): (NO, "exit 127", 127),
    ("exits", 13): (NO, "memory limit exceeded", None),
    ("failures", 1): (NO, "exit 3", 3),
    ("failures", 3): (NO, "exit 3", 3),
    ("failures", 5): (NO, "execution timed out after 2 s", None),
    ("failures", 7): (NO, "execution timed out after 2 s", None),
    ("failures", 9): (NO, 'image not available: "localhost:5000/nosuch:1"', None),
    ("failures", 11): (NO, "not enough nodes to run job. requested: 1, available: 1", None),
    ("failures", 13): (WAIT, "Job queued. not enough nodes", None),
    ("failures", 16): (NO, "not enough nodes to run job", None),
    ("failures", 18): (NO, "rejected bid: this node does not resolve", None),
    ("idempotency", 8): (WAIT, "", None),
    ("inputs_outputs", 1): (OK, "", 0),
    ("inputs_outputs", 3): (NO, "calculating resource usage of job: failed to fetch s3", None),
    ("inputs_outputs", 5): (OK, "", 0),
    ("inputs_outputs", 7): (NO, "calculating resource usage of job: error getting job disk", None),
    ("inputs_outputs", 9): (OK, "", 0),
    ("inputs_outputs", 11): (NO, "calculating resource usage of job: volume", None),
    ("inputs_outputs", 13): (NO, "calculating resource usage of job: volume /etc", None),
    ("inputs_outputs", 15): (OK, "", 0),
    ("inputs_outputs", 18): (OK, "", -1),
    ("inputs_outputs", 20): (OK, "", 0),
    ("inputs_outputs", 22): (OK, "", 0),
    ("inputs_outputs", 24): (OK, "", 0),
    ("lifecycle", 1): (OK, "", 0),
    ("lifecycle", 3): (OK, "", -1),
    ("lifecycle", 5): (RUN, "", None),
    ("lifecycle", 6): (OK, "", 0),
    ("lifecycle", 7): (NO, "the node keeps no execution", None),  # asked without executions
    ("lifecycle", 10): (NO, "not enough nodes to run job. requested: 3", None),
    **{("node_lost", n): (RUN, "", None) for n in (1, 3, 4, 5, 6, 8, 10, 12)},
    **{("node_lost", n): (OK, "", 0) for n in (7, 9, 11, 13)},
    ("restart", 0): (NO, "Execution stop requested because node has disappeared", None),
    ("restart", 3): (RUN, "", None),
    ("restart", 4): (RUN, "", None),
    ("restart", 5): (OK, "", 0),
    ("restart", 6): (NO, "Execution stop requested because node has disappeared", None),
    ("stop", 2): (STOP, "the job ended as Stopped", None),
}


def _jobs() -> dict[tuple[str, int], dict[str, Any]]:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for path in sorted(RECORDINGS.glob("*.json")):
        for number, exchange in enumerate(json.loads(path.read_text())["exchanges"]):
            body = exchange["response"]
            if isinstance(body, dict) and isinstance(body.get("Job"), dict):
                found[path.stem, number] = body
    return found


JOBS = _jobs()


def _judge(place: tuple[str, int]) -> Outcome:
    return judge(view(build_job_info(Fields(JOBS[place], "recording"))))


def test_every_recorded_job_is_expected() -> None:
    """A recording that is added needs an expectation here."""
    judged = {place for place, body in JOBS.items() if "State" in body["Job"]}
    assert judged == set(EXPECTED)


@pytest.mark.parametrize("place", EXPECTED, ids=lambda p: f"{p[0]}-{p[1]}")
def test_recorded_job(place: tuple[str, int]) -> None:
    """Verdict, reason and exit code of a recorded job; all of these failures count."""
    outcome = _judge(place)
    verdict, reason, exit_code = EXPECTED[place]
    assert outcome.verdict is verdict
    assert outcome.reason == reason if not reason else outcome.reason.startswith(reason)
    assert outcome.exit_code == exit_code
    assert outcome.counts


@pytest.mark.parametrize("place", [("restart", 0), ("restart", 6)])
def test_a_lost_node_is_told(place: tuple[str, int]) -> None:
    """Its task may go on, so that the next attempt must wait from its start on."""
    outcome = _judge(place)
    assert outcome.node_lost
    assert outcome.execution_started == 1795254587716642


def test_output_is_taken_over() -> None:
    """What the node keeps of the output stands on the outcome, with the node's id."""
    outcome = _judge(("failures", 1))
    [execution] = JOBS["failures", 1]["Executions"]["Items"]
    assert outcome.node_id == execution["NodeID"]
    assert outcome.stdout == execution["RunOutput"]["Stdout"]
    assert outcome.stderr == execution["RunOutput"]["stderr"]
