"""Runs, dead runs and logs over HTTP, against a dev node that really runs the tasks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.domain.clock import from_rfc3339
from orchestrator.web.models import AttemptModel
from tests.support.api import Api, serving
from tests.support.waiting import until

RUN_NAMES = [
    "id",
    "trigger",
    "key",
    "state",
    "reason",
    "priority",
    "created_at",
    "due_at",
    "started_at",
    "ended_at",
    "values",
    "attempts",
]
ATTEMPT_NAMES = [
    "number",
    "job_name",
    "job_id",
    "state",
    "exit_code",
    "reason",
    "node_id",
    "submitted_at",
    "ended_at",
    "stdout",
    "stderr",
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevNode]:
    config = DevNodeConfig(
        data_dir=tmp_path_factory.mktemp("node"), images={"busybox:1": "-"}, docker=False
    )
    started = DevNode(config).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def api(node: DevNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("api"), node.url) as served:
        yield served


def script(text: str) -> dict[str, Any]:
    engine = {
        "Type": "docker",
        "Params": {
            "Image": "busybox:1",
            "Entrypoint": ["/bin/sh", "-c"],
            "Parameters": [text],
        },
    }
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine}]}


def fire(api: Api, name: str) -> str:
    return api.post(f"/triggers/{name}/fire", status=201)["id"]


def test_a_run_has_the_names_that_scripts_rely_on(api: Api) -> None:
    """A run and its attempt carry the contract's names, with times in UTC."""
    api.register("names", job=script("echo out; echo err >&2"))
    run = api.until_run(fire(api, "names"), "succeeded")
    assert set(RUN_NAMES) <= set(run)
    assert run["trigger"] == "names"
    assert run["values"] == {"firing": {"key": run["key"], "time": run["due_at"]}}
    for name in ("created_at", "due_at", "started_at", "ended_at"):
        assert run[name].endswith("Z")
        assert from_rfc3339(run[name]) > 0
    (attempt,) = run["attempts"]
    assert set(ATTEMPT_NAMES) <= set(attempt)
    assert set(attempt) == set(AttemptModel.model_fields)
    assert attempt["number"] == 1
    assert attempt["state"] == "succeeded"
    assert attempt["exit_code"] == 0
    assert attempt["stdout"] == "out\n"
    assert attempt["stderr"] == "err\n"
    assert attempt["job_name"].endswith("-a1")
    assert attempt["job_id"].startswith("j-")
    assert attempt["node_id"]
    listed = api.get("/runs", trigger="names")["items"]
    assert listed == [api.get(f"/runs/{run['id']}")]


def test_runs_are_filtered_and_paged(api: Api) -> None:
    """By state (repeated or with commas), by window, in both orders, page by page."""
    api.register("paged", schedule="0 0 * * *", job=script("true"))
    api.post("/triggers/paged/pause")
    window = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-11T00:00:00Z"}
    assert api.post("/triggers/paged/backfill", window)["created"] == 10
    until(
        lambda: len(api.get("/runs", trigger="paged", state="succeeded")["items"]) == 10,
        "ten runs succeeded",
        within=60,
    )
    days = [f"2020-01-{day:02}" for day in range(1, 11)]

    def keys(**params: Any) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = api.get("/runs", trigger="paged", cursor=cursor, **params)
            assert len(page["items"]) <= params.get("limit", 100)
            found += [run["key"][:10] for run in page["items"]]
            cursor = page["next"]
            if cursor is None:
                return found

    assert keys(order="oldest", limit=3) == days
    assert keys(limit=4) == days[::-1]
    assert keys(state="dead,succeeded", order="oldest") == days
    assert keys(state=["dead", "succeeded"], order="oldest") == days
    assert keys(state="dead") == []
    some = {"since": "2020-01-03T00:00:00Z", "until": "2020-01-05T00:00:00Z"}
    assert keys(order="oldest", **some) == ["2020-01-03", "2020-01-04"]


def test_an_open_run_is_cancelled(api: Api) -> None:
    """Cancel stops the job and ends the run with the reason; a second cancel is a conflict."""
    api.register("cancelled", stop_grace="0s", job=script("echo begun; sleep 60"))
    run_id = fire(api, "cancelled")
    api.until_run(run_id, "running")
    api.post(f"/runs/{run_id}/cancel", {"reason": "not today"})
    run = api.until_run(run_id, "cancelled", within=60)
    assert run["reason"] == "not today"
    assert "has ended already" in api.post(f"/runs/{run_id}/cancel", status=409)["detail"]


def test_dead_runs_are_listed_redriven_and_discarded(api: Api) -> None:
    """What is dead stays listed until it succeeds again or somebody lets it go."""
    api.register("dying", retry={"max_attempts": 1}, job=script("echo no >&2; exit 3"))
    ids = [fire(api, "dying"), fire(api, "dying")]
    for run_id in ids:
        assert api.until_run(run_id, "dead")["reason"].startswith("exit 3")
    assert api.get("/status")["runs"]["dead"] == 2
    assert {run["id"] for run in api.get("/dead", trigger="dying")["items"]} == set(ids)
    assert api.post("/dead/redrive", {"runs": ids[:1]}) == {"count": 1}

    def dead_again() -> dict[str, Any] | None:
        run = api.get(f"/runs/{ids[0]}")
        return run if run["state"] == "dead" and len(run["attempts"]) == 2 else None

    again = until(dead_again, "the redriven run dead again")
    assert [a["exit_code"] for a in again["attempts"]] == [3, 3]
    discarded = api.post("/dead/discard", {"trigger": "dying", "note": "known"})
    assert discarded == {"count": 2}
    assert api.get("/dead", trigger="dying")["items"] == []
    assert api.get("/status")["runs"]["dead"] == 0
    kept = api.get("/runs", trigger="dying", state="dead")["items"]
    assert [run["discarded"] for run in kept] == [True, True]
    assert api.post("/dead/redrive", {"runs": ids}, 409)["detail"].startswith("none of these")
    actions = [(t["action"], t["detail"].get("note")) for t in api.get("/trail")["items"]]
    assert ("discard", "known") in actions


def test_retry_runs_a_run_again(api: Api) -> None:
    """A dead run that is retried gets another attempt; one that succeeded is not run twice."""
    api.register("again", retry={"max_attempts": 1}, job=script("[ $ORCH_ATTEMPT = 2 ]"))
    run_id = fire(api, "again")
    api.until_run(run_id, "dead")
    api.post(f"/runs/{run_id}/retry")
    run = api.until_run(run_id, "succeeded")
    assert [a["state"] for a in run["attempts"]] == ["failed", "succeeded"]
    assert "has succeeded" in api.post(f"/runs/{run_id}/retry", status=409)["detail"]


def test_logs_come_from_the_cluster(api: Api) -> None:
    """After the end the whole output comes as text, of the attempt that is asked for."""
    api.register("logs", job=script("i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done"))
    run_id = fire(api, "logs")
    api.until_run(run_id, "succeeded")
    response = api.send("GET", f"/api/v1/runs/{run_id}/logs")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Orch-Logs"] == "cluster"
    assert response.headers["Orch-Attempt"] == "1"
    assert response.text.splitlines() == [f"line {i}" for i in range(300)]
    assert api.get(f"/runs/{run_id}/logs?attempt=2", 422)["errors"][0]["path"] == "attempt"


def test_logs_are_followed_while_the_job_runs(api: Api) -> None:
    """With follow the lines come as they are written, and the stream ends with the job."""
    api.register("followed", job=script("echo first; sleep 2; echo last"))
    run_id = fire(api, "followed")
    api.until_run(run_id, "running")
    path = f"/api/v1/runs/{run_id}/logs?follow=true"
    with api.send("GET", path, stream=True) as response:
        lines = response.iter_lines(decode_unicode=True)
        assert next(lines) == "first"
        assert api.get(f"/runs/{run_id}")["state"] == "running"
        assert list(lines) == ["last"]
    api.until_run(run_id, "succeeded")


def _log_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "log"]


def test_followers_that_go_away_hold_nothing_up(api: Api) -> None:
    """Many readers of silent logs, all gone again, leave the API as quick as before."""
    api.register("silent", job=script("sleep 30"), stop_grace="0s")
    run_id = fire(api, "silent")
    api.until_run(run_id, "running")
    path = f"/api/v1/runs/{run_id}/logs?follow=true"
    readers = [api.send("GET", path, stream=True) for _ in range(8)]
    assert {reader.status_code for reader in readers} == {200}
    assert api.send("GET", "/readyz").status_code == 200
    for reader in readers:
        reader.close()
    until(lambda: not _log_threads(), "no thread reads for nobody", show=_log_threads)
    assert api.send("GET", "/readyz").status_code == 200
    api.post(f"/runs/{run_id}/cancel")
    api.until_run(run_id, "cancelled", within=60)


def test_a_run_without_an_attempt_has_no_log(api: Api) -> None:
    """That is said, instead of an empty answer."""
    api.register("waiting", overlap="queue", stop_grace="0s", job=script("sleep 20"))
    first, second = fire(api, "waiting"), fire(api, "waiting")
    api.until_run(first, "running")
    assert "no attempt yet" in api.get(f"/runs/{second}/logs", 409)["detail"]
    for run_id in (first, second):
        api.post(f"/runs/{run_id}/cancel")
        api.until_run(run_id, "cancelled", within=60)


def test_logs_fall_back_to_what_was_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    """When the cluster is away, the output that was kept with the attempt is what comes."""
    config = DevNodeConfig(
        data_dir=tmp_path_factory.mktemp("node"), images={"busybox:1": "-"}, docker=False
    )
    node = DevNode(config).start()
    with serving(tmp_path_factory.mktemp("api"), node.url) as api:
        api.register("kept", job=script("echo kept; echo wrong >&2"))
        run_id = fire(api, "kept")
        api.until_run(run_id, "succeeded")
        node.stop()
        response = api.send("GET", f"/api/v1/runs/{run_id}/logs")
        assert response.headers["Orch-Logs"] == "kept"
        assert response.text == "kept\nwrong\n"


def test_the_trail_tells_who_did_what(api: Api) -> None:
    """Newest first, page by page, with the actor and what was done to what."""
    api.register("trailed")
    api.post("/triggers/trailed/pause", {"note": "why"})
    page = api.get("/trail", limit=2)
    assert [(t["action"], t["subject"], t["actor"]) for t in page["items"]] == [
        ("pause", "trailed", "local"),
        ("register", "trailed", "local"),
    ]
    assert page["items"][0]["detail"] == {"note": "why"}
    assert page["items"][0]["at"].endswith("Z")
    older = api.get("/trail", limit=2, cursor=page["next"])
    assert older["items"][0]["id"] < page["items"][1]["id"]


def test_the_audit_is_ok(api: Api) -> None:
    """All that these tests did leaves a ledger that proves itself."""
    found = api.get("/audit")
    assert found["ok"], json.dumps(found["findings"])
    assert {"name", "runs", "from", "to"} <= set(found["triggers"][0])
    assert api.get("/audit", trigger="paged")["ok"]
