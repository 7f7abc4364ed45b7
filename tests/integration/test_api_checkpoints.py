"""Checkpoints and sources over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import cli
from tests.support.api import Api, serving, trigger
from tests.support.logsource import Log, LogConnector, log_registry
from tests.support.waiting import until


@pytest.fixture
def logs() -> LogConnector:
    """The connector, with a log of two partitions."""
    connector = LogConnector()
    connector.logs["main"] = Log(starts={"p0": 0, "p1": 0}, ends={"p0": 25, "p1": 5})
    return connector


@pytest.fixture
def api(tmp_path: Path, logs: LogConnector) -> Iterator[Api]:
    """An orchestrator with one stream trigger and one schedule, and no cluster."""
    with serving(tmp_path / "data", registry=log_registry(logs, with_cron=True)) as served:
        served.post("/triggers", stream(), status=201)
        served.post("/triggers", trigger("tick"), status=201)
        until(lambda: places(served).get("p1", {}).get("planned") == "5", "planned", within=20)
        yield served


def stream(name: str = "stream", **changes: Any) -> dict[str, Any]:
    document = trigger(name, **({"kind": "log", "log": "main"} | changes))
    del document["schedule"]
    return document


def places(api: Api) -> dict[str, Any]:
    return {c["partition"]: c for c in api.get("/checkpoints", trigger="stream")["items"]}


def test_checkpoints_show_positions_runs_and_lag(api: Api) -> None:
    """Positions are shown as the source writes them; a schedule has no lag in events."""
    found = places(api)
    assert (found["p0"]["done"], found["p0"]["planned"], found["p0"]["runs"]) == ("0", "20", 2)
    until(lambda: places(api)["p0"]["lag"] == 5, "the lag", within=10)
    [tick] = api.get("/checkpoints", trigger="tick")["items"]
    assert (tick["partition"], tick["lag"]) == ("schedule", None)


def test_a_source_is_shown_with_its_trigger_and_in_status(api: Api) -> None:
    """State, identity, lag; the same in `/metrics`."""
    until(lambda: api.get("/triggers/stream")["source"]["lag"] == 5, "the lag", within=10)
    source = api.get("/triggers/stream")["source"]
    assert (source["state"], source["identity"], source["detail"]) == ("ok", "one", None)
    assert api.get("/triggers/tick")["source"] is None
    assert [s["trigger"] for s in api.get("/status")["sources"]] == ["stream"]
    text = api.send("GET", "/metrics").text
    assert 'orch_source_up{trigger="stream"} 1.0' in text
    assert 'orch_source_lag_events{partition="p0",trigger="stream"} 5.0' in text


def test_checkpoints_are_set_while_paused_with_a_reason(api: Api) -> None:
    """The command says what it did; the audit trail has who, where to and why."""
    env = {"ORCH_URL": api.url}
    set_ = ("checkpoints", "set", "stream", "p0=7", "--reason", "bad deploy")
    refused = cli.orch(*set_, env=env)
    assert refused.code == 1
    assert "orch triggers pause stream" in refused.err
    assert cli.orch("triggers", "pause", "stream", "--note", "x", env=env).code == 0
    done = cli.orch(*set_, env=env)
    assert (done.code, done.err) == (0, "")
    assert "orch triggers resume stream" in done.out
    assert places(api)["p0"]["planned"] == "7"
    [entry] = [e for e in api.get("/trail")["items"] if e["action"] == "checkpoint set"]
    assert entry["detail"] == {"positions": {"p0": "7"}, "reason": "bad deploy"}
    shown = cli.orch("checkpoints", "show", "stream", env=env)
    assert "LAG" in shown.out
    assert cli.orch("checkpoints", "restart", "stream", "--reason", "anew", env=env).code == 0
    assert api.get("/triggers/stream")["source"]["restart_asked"] is True
    assert api.get("/audit")["ok"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/checkpoints/stream", {"positions": {"p0": "7"}, "reason": " "}, 422, "reason"),
        ("/checkpoints/stream", {"positions": {}, "reason": "x"}, 422, "nothing is to be set"),
        (
            "/checkpoints/stream",
            {"positions": {"p9": "1"}, "reason": "x"},
            422,
            "no such partition",
        ),
        ("/checkpoints/stream", {"positions": {"p0": "-1"}, "reason": "x"}, 422, "write a number"),
        ("/checkpoints/stream", {"positions": {"p0": 7}, "reason": "x"}, 422, "positions"),
        ("/checkpoints/stream", {"position": "7", "reason": "x"}, 422, "position"),
        ("/checkpoints/nothing", {"positions": {"p0": "7"}, "reason": "x"}, 404, "no trigger"),
        ("/checkpoints/tick", {"positions": {"p0": "7"}, "reason": "x"}, 409, "due times"),
        ("/checkpoints/stream/restart", {"reason": ""}, 422, "reason"),
        ("/checkpoints/tick/restart", {"reason": "x"}, 409, "no checkpoints that can be set"),
        ("/triggers/stream/fire", {}, 409, "set its checkpoints back"),
        ("/triggers/stream/resume", {"skip": True}, 409, "checkpoints forward"),
        (
            "/triggers/stream/backfill",
            {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"},
            409,
            "no due times",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    api: Api, path: str, body: Any, status: int, words: str
) -> None:
    """Each refusal names the place and the remedy, and nothing has changed."""
    before = places(api)
    problem = api.post(path, body, status=status)
    assert words in str(problem)
    after = places(api)
    assert {p: c["planned"] for p, c in after.items()} == {
        p: c["planned"] for p, c in before.items()
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"overlap": "skip"}, "`overlap` is for schedules"),
        ({"catch_up": "1h"}, "`catch_up` is for schedules"),
        ({"catch_up_limit": 3}, "`catch_up_limit` is for schedules"),
        ({"log": 5}, "log"),
        ({"max_record": 5}, "max_records"),
    ],
)
def test_policies_that_mean_nothing_for_a_stream_are_refused(
    api: Api, changes: dict[str, Any], words: str
) -> None:
    """A trigger file says nothing that has no effect."""
    problem = api.post("/triggers", stream("other", **changes), status=422)
    assert words in str(problem)
    assert api.send("GET", "/api/v1/triggers/other").status_code == 404


@pytest.mark.parametrize("changes", [{"on_dead": "skip"}, {"parallelism": 2}])
def test_policies_of_partitions_are_refused_for_a_schedule(
    api: Api, changes: dict[str, Any]
) -> None:
    """They would do nothing."""
    problem = api.post("/triggers", trigger("other", **changes), status=422)
    assert "is for sources with partitions" in str(problem)


def test_another_source_needs_reset(api: Api, logs: LogConnector) -> None:
    """A change of what identifies the source is refused without --reset; with it the trigger
    begins anew there. Other settings change without a jump."""
    logs.logs["other"] = Log(identity="two", starts={"p0": 100}, ends={"p0": 103})
    assert api.put("/triggers/stream", stream(max_records=3))["action"] == "changed"
    changed = stream(log="other")
    problem = api.put("/triggers/stream", changed, status=409)
    assert "--reset" in str(problem)
    api.send("PUT", "/api/v1/triggers/stream", params={"reset": "true"}, json=changed)
    # Nothing more is planned: the runs of the old source are still open, as no cluster answers.
    until(lambda: places(api)["p0"]["planned"] == "100", "begun anew", within=20)
    assert places(api)["p1"]["planned"] is None
    assert api.get("/audit")["ok"]
