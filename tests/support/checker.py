"""Checks that share nothing with the orchestrator's own audit: arithmetic and the node's list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from bacalhau_client import Job

ENDS = {"succeeded", "dead", "skipped", "cancelled"}


def due_times_are_complete(
    trigger: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], every: float
) -> None:
    """From the registration to the pause, each due time of an interval has exactly one run.

    `trigger` and `runs` as the API shows them; the trigger was paused at the end.
    """
    step = timedelta(seconds=every)
    name = trigger["name"]
    begin, end = _time(trigger["created_at"]), _time(trigger["updated_at"])
    # A backfill may have made the run of a due time, also of one before the registration.
    mine = [run for run in runs if run["trigger"] == name and run["origin"] != "manual"]
    due = sorted(at for run in mine if (at := _time(run["due_at"])) > begin)
    assert due, f"{name} has no runs"
    assert begin < due[0] <= begin + step, f"{name}: first due {due[0]}, registered {begin}"
    assert due[-1] <= end, f"{name}: due {due[-1]} after the pause at {end}"
    # What came due in the instant of the pause may or may not have come in before it.
    assert due[-1] > end - 2 * step, f"{name}: last due {due[-1]}, paused {end}"
    expected = [due[0] + n * step for n in range(len(due))]
    assert due == expected, f"{name}: not one run for each due time: {due}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def runs_have_ended(runs: Sequence[Mapping[str, Any]]) -> None:
    """Every run is at one of the four ends, and no key is there twice."""
    for run in runs:
        assert run["state"] in ENDS, run
        assert run["ended_at"], run
        live = [a for a in run["attempts"] if a["ended_at"] is None]
        assert not live, (run["id"], live)
        numbers = [attempt["number"] for attempt in run["attempts"]]
        assert numbers == list(range(1, len(numbers) + 1)), (run["id"], numbers)
    keys = Counter((run["trigger_uid"], run["key"]) for run in runs)
    assert max(keys.values(), default=1) == 1, keys.most_common(3)


def jobs_match_ledger(jobs: Sequence[Job], runs: Sequence[Mapping[str, Any]]) -> None:
    """The node has one job for each attempt that was accepted, and none that nobody knows."""
    known = {a["job_name"]: a for run in runs for a in run["attempts"]}
    for job in jobs:
        assert job.version == 1, (job.name, job.version)
        assert job.name in known, f"nobody knows the job {job.name}"
        assert known[job.name]["job_id"] in (job.id, None), (job.id, known[job.name])
        assert job.state.is_terminal, f"nobody watches the job {job.name}: {job.state.name}"
    by_attempt = Counter((j.labels["orch.run"], j.labels["orch.attempt"]) for j in jobs)
    assert max(by_attempt.values(), default=1) == 1, by_attempt.most_common(3)
    there = {job.id for job in jobs}
    accepted = {a["job_id"] for a in known.values() if a["job_id"]}
    assert accepted <= there, f"the ledger names jobs that the node has not: {accepted - there}"


def one_live_job_at_a_time(executions: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """For each run, the spans in which its jobs were live do not overlap. Times of one clock."""
    for run, spans in executions.items():
        ordered = sorted(spans)
        for (_, end), (begin, _) in pairwise(ordered):
            assert end <= begin, f"run {run} had two live jobs: {ordered}"
