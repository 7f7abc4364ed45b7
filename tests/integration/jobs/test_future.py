"""Jobs of the future, times of kind `at`, and the end of either before and while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain.clock import DAY, HOUR, SECOND, to_rfc3339
from orchestrator.services.callbacks import signature
from tests.support.api import Api, serving
from tests.support.hook import Heard, receiver
from tests.support.inprocess import ShiftedClock
from tests.support.jobdesk import Desk, job, template
from tests.support.waiting import until


@pytest.fixture
def heard() -> Iterator[Heard]:
    with receiver() as found:
        yield found


def at_trigger(name: str, when: Any, script: str = "true", **more: Any) -> dict[str, Any]:
    """A trigger file of kind at."""
    own = {"apiVersion": "orch/v1", "kind": "at", "name": name, "when": when, **more}
    return {**own, "job": job(script, {"WHO": "${{ parameters.who }}"})}


def clock_of(api: Api) -> int:
    """Its now."""
    return api.orch.app.clock.now()


def test_delay_and_run_at(desk: Desk) -> None:
    """A job runs when it is due, and not before."""
    desk.template("later", "date +%s%N")
    soon = desk.submit({"template": "later", "delay": "1s"})
    assert (soon["status"], desk.api.get(f"/runs/{soon['id']}")["queue"]) == ("Queued", "future")
    at = to_rfc3339(clock_of(desk.api) + SECOND)
    also = desk.submit({"template": "later", "run_at": at})
    assert also["run_at"] == at
    for asked in (soon, also):
        done = desk.get(asked["id"], wait="20s")
        assert done["status"] == "Succeeded"
        begun = to_rfc3339(int(done["result"]["stdout"]) // 1000)
        assert begun >= done["run_at"] > done["created_at"]


@pytest.mark.parametrize(
    "limits", [{"max_in_flight": 1}, {"overlap": "queue"}, {"rate": 4}, {"rate": 50}]
)
def test_limits_hold_when_they_come_due(desk: Desk, tmp_path: Path, limits: Any) -> None:
    """Many due in the same second stand beside each other as their template allows."""
    notes = tmp_path / "notes"
    name = "narrow-" + "-".join(f"{k}-{v}".replace("_", "-") for k, v in limits.items())
    script = f'echo "+ $(date +%s%N)" >> {notes}; sleep 0.1; echo - >> {notes}'
    desk.template(name, script, **limits)
    at = to_rfc3339(clock_of(desk.api) + SECOND)
    bodies = [{"template": name, "run_at": at}] * 5
    response = desk.send("POST", "/jobs:batch", {"jobs": bodies})
    for item in response.json()["items"]:
        assert desk.get(item["id"], wait="30s")["status"] == "Succeeded"
    lines = notes.read_text().splitlines()
    if "rate" not in limits:
        assert [line[0] for line in lines] == ["+", "-"] * 5
        return
    runs = desk.api.get("/runs", trigger=name)["items"]
    apart = SECOND // limits["rate"]
    begun = sorted(run["started_at"] for run in runs)
    assert begun[0] >= at
    assert len(set(begun)) > 1
    assert to_rfc3339(desk.api.orch.run(runs[0]["id"]).due_at + 4 * apart) <= begun[-1]


def test_cancelled_before_it_is_due(desk: Desk, heard: Heard) -> None:
    """One of the future ends at once, and whoever asked to be told is told."""
    desk.template("far", callbacks={"on_abort": {"url": heard.url}})
    asked = desk.submit({"template": "far", "delay": "7d", "input": "x"})
    ended = desk.cancel(asked["id"])
    assert ended["status"] in ("Queued", "Cancelled")
    assert desk.until(asked["id"], "Cancelled")["reason"] == "cancelled by request"
    said = heard.of(asked["id"])
    assert (said["event"], said["state"]) == ("on_abort", "cancelled")
    assert said["reason"] == "cancelled by request"
    assert said["values"] == {"input": "x"}
    assert said["output"] is None
    assert said["started_at"] is None
    assert desk.cancel(asked["id"], 409)["detail"].endswith("is over: Cancelled")


def test_cancelled_while_it_runs(desk: Desk, heard: Heard) -> None:
    """What runs is stopped; a second DELETE meanwhile changes nothing."""
    desk.template("long", "echo begun; sleep 60", callbacks={"on_abort": {"url": heard.url}})
    asked = desk.submit({"template": "long"})
    desk.api.until_run(asked["id"], "running")
    assert desk.cancel(asked["id"])["reason"] == "is being cancelled: cancelled by request"
    desk.cancel(asked["id"]) if desk.get(asked["id"])["ended_at"] is None else None
    desk.until(asked["id"], "Cancelled")
    said = heard.of(asked["id"])
    assert said["event"] == "on_abort"
    assert said["output"]["stdout"] in ("begun\n", "")
    assert said["created_at"] <= said["started_at"] <= said["ended_at"]


@pytest.mark.parametrize("state", ["future", "ready", "line", "delayed", "running", "retry"])
def test_cancel_at_each_state(
    desk: Desk, state: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever a job stands, a DELETE ends it, and nothing is left that never ends."""
    name = f"stands-{state}"
    more: dict[str, Any] = {"max_in_flight": 1} if state == "line" else {}
    if state == "delayed":
        more = {"rate": 0.001}
    if state == "retry":
        more = {"retry": {"max_attempts": 9, "backoff": {"initial": "1h", "max": "2h"}}}
    desk.template(name, "exit 1" if state == "retry" else "sleep 60", **more)
    first = desk.submit({"template": name}) if state in ("line", "delayed") else None
    asked = desk.submit({"template": name, **({"delay": "1h"} if state == "future" else {})})
    wanted = {"running": "running", "retry": "pending"}.get(state, "pending")
    if state == "retry":
        until(lambda: desk.get(asked["id"])["attempts"] == 1, "the first attempt")
    if state != "ready":
        desk.api.until_run(asked["id"], wanted)
    if state in ("future", "line", "delayed"):
        assert desk.api.get(f"/runs/{asked['id']}")["queue"] == state
    for found in (first, asked):
        if found is not None:
            desk.cancel(found["id"])
            assert desk.get(found["id"], wait="30s")["status"] == "Cancelled"
    open_ = desk.api.get("/runs", trigger=name, state="pending,submitting,running")["items"]
    assert open_ == []


def test_own_callback_is_signed_and_masked(desk: Desk, heard: Heard) -> None:
    """A job's `callback_url` is told of its end like any callback, secrets masked, and the answers
    show its host alone."""
    schema = {"properties": {"pw": {"type": "string", "writeOnly": True}, "n": {"default": 1}}}
    desk.template("telling", "echo out; echo err >&2; exit 3", parameters=schema)
    body = {"template": "telling", "parameters": {"pw": "hunter2"}, "callback_url": heard.url}
    asked = desk.submit(body)
    assert asked["callback_host"] == heard.url.split("/")[2]
    shown = desk.send("GET", f"/api/v1/runs/{asked['id']}").text
    assert "path-of-its-own" not in shown
    said = heard.of(asked["id"])
    assert (said["event"], said["reason"]) == ("on_failure", "exit 3 (after 1 of 1 attempts)")
    assert said["output"] == {"exit_code": 3, "stdout": "out\n", "stderr": "err\n"}
    assert said["values"] == {"parameters": {"pw": "…", "n": 1}}
    headers, body_ = next(r for r in heard.requests if asked["id"].encode() in r[1])
    key = desk.api.orch.app.callbacks._key
    assert headers["Orch-Signature"] == signature(key, headers["Orch-Timestamp"], body_)


def test_own_callback_calls_nothing_private(tmp_path: Path, node: Any, heard: Heard) -> None:
    """Whoever may ask for a job reaches no private address by it."""
    with serving(tmp_path / "strict", node.url) as api:
        desk = Desk(api)
        desk.template("telling")
        asked = desk.submit({"template": "telling", "callback_url": heard.url}, wait="20s")
        assert asked["status"] == "Succeeded"
        until(lambda: not api.orch.app.callbacks._outbox.next_at(), "it is given up")
        assert heard.requests == []


def test_at_runs_once_with_its_parameters(desk: Desk, heard: Heard) -> None:
    """Each time of kind `at` is one run, with the trigger's parameters, in the zone it names."""
    instant = clock_of(desk.api) // SECOND + 2
    rome = datetime.fromtimestamp(instant, ZoneInfo("Europe/Rome")).strftime("%F %T")
    file = at_trigger(
        "party",
        [f"{rome} Europe/Rome", "2199-01-01 09:00 Asia/Tokyo"],
        'echo "for $WHO"',
        parameters={"who": "us"},
        callbacks={"on_success": {"url": heard.url}, "on_abort": {"url": heard.url}},
    )
    shown = desk.api.post("/triggers", file, 201)
    assert shown["next_at"] == to_rfc3339(instant * SECOND)
    run = until(lambda: desk.api.get("/runs", trigger="party")["items"], "it fires")[0]
    said = heard.of(run["id"])
    assert said["output"]["stdout"] == "for us\n"
    assert said["values"] == {"parameters": {"who": "us"}}
    # The one that is left is called off with the trigger.
    desk.api.delete("/triggers/party", 202)
    left = until(
        lambda: desk.api.get("/runs", trigger="party", state="cancelled")["items"], "called off"
    )
    assert [r["key"] for r in left] == ["2199-01-01T00:00:00Z"]
    assert heard.of(left[0]["id"])["event"] == "on_abort"
    assert desk.api.get("/audit")["ok"]


@pytest.mark.parametrize("state", ["running", "retry"])
def test_at_is_called_off(desk: Desk, state: str) -> None:
    """While it runs, and between two attempts: nothing is left that never ends."""
    name, script = f"off-{state}", "sleep 60" if state == "running" else "exit 1"
    file = at_trigger(
        name,
        to_rfc3339((clock_of(desk.api) // SECOND + 3) * SECOND),
        script,
        parameters={"who": "us"},
        retry={"max_attempts": 9, "backoff": {"initial": "1h", "max": "2h"}},
        stop_grace="100ms",
    )
    desk.api.post("/triggers", file, 201)
    run = until(lambda: desk.api.get("/runs", trigger=name)["items"], "it fires")[0]

    def stands() -> bool:
        found = desk.api.get(f"/runs/{run['id']}")
        again = found["state"] == "pending" and len(found["attempts"]) == 1
        return again if state == "retry" else found["state"] == "running"

    until(stands, state, show=lambda: desk.api.get(f"/runs/{run['id']}"))
    desk.api.post(f"/runs/{run['id']}/cancel", {"reason": "called off"})
    assert desk.api.until_run(run["id"], "cancelled")["reason"] == "called off"
    assert desk.api.get("/runs", trigger=name, state="pending,submitting,running")["items"] == []


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"when": "2020-01-01 09:00 Europe/Rome"}, "when[0]", "is over"),
        ({"when": ["2199-01-01T00:00:00Z", "2020-01-01"]}, "when[1]", "not a time"),
        ({"when": "2199-01-01 09:00 Europe/Romme"}, "when[0]", "not a time zone"),
        ({"when": "2199-01-01 09:00", "timezone": "Mars"}, "timezone", "not a time zone"),
        ({"when": []}, "when", "0 entries"),
        ({"when": None}, "when", "missing"),
        ({"when": ["2199-01-01 09:00", "2199-01-01T09:00:00Z"]}, "when[1]", "same instant"),
        ({"parameters": 3}, "parameters", "not a mapping"),
        ({"parameters": {"x": "y" * 20_000}}, "parameters", "characters"),
        ({"wen": 1}, "wen", "unknown"),
        ({"parallelism": 2}, "parallelism", "partitions"),
    ],
)
def test_bad_at(desk: Desk, changes: dict[str, Any], place: str, words: str) -> None:
    """What is wrong with a time is told with its place."""
    file = {**at_trigger("bad", "2199-01-01 09:00"), **changes}
    file = {key: value for key, value in file.items() if value is not None}
    refused = desk.api.post("/triggers", file, 422)
    told = [(e["path"], e["message"]) for e in refused["errors"]]
    assert any(path.startswith(place) and words in message for path, message in told), told


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"parameters": {"type": "array"}}, "parameters.type", "cannot hold"),
        ({"parameters": {"properties": {"a": {"type": "text"}}}}, "parameters.properties", "valid"),
        ({"parameters": {"$ref": "http://x/y"}}, "parameters", "leads out"),
        ({"parameters": {"$ref": "#"}}, "parameters", "followed"),
        (
            {"parameters": {"properties": {"a": {"type": "integer", "default": "x"}}}},
            "parameters.properties.a.default",
            "integer",
        ),
        ({"parameters": 7}, "parameters", "mapping"),
        ({"default": 1}, "default", "boolean"),
        ({"after": ["a", "a"]}, "after[1]", "twice"),
        ({"after": [7]}, "after[0]", "name"),
        ({"after": [f"t{n}" for n in range(51)]}, "after", "51 entries"),
        ({"match": "time"}, "match", "nothing to match"),
        ({"match": "day", "after": ["a"]}, "match", "not accepted"),
        ({"overlap": "skip"}, "overlap", "leave out"),
        ({"catch_up": "1h"}, "catch_up", "asked for one by one"),
        ({"on_dead": "skip"}, "on_dead", "asked for one by one"),
        ({"schedule": "* * * * *"}, "schedule", "unknown"),
    ],
)
def test_bad_templates(desk: Desk, changes: dict[str, Any], place: str, words: str) -> None:
    """What is wrong with a template is told with its place."""
    refused = desk.api.post("/triggers", {**template("bad"), **changes}, 422)
    told = [(e["path"], e["message"]) for e in refused["errors"]]
    assert any(path.startswith(place) and words in message for path, message in told), told


def test_outside_data_has_its_rules(desk: Desk) -> None:
    """Parameters and input are data from outside: none in a shell's program text, none that would
    name a variable of the node."""
    for path in ("parameters.x", "input", "after.a.key"):
        refused = desk.api.post("/triggers", template("bad", f"echo ${{{{ {path} }}}}"), 422)
        assert "allow_shell_data" in refused["errors"][0]["remedy"]
    desk.template("env", "true", env={"X": "${{ input }}"})
    done = desk.submit({"template": "env", "input": "env:HOME"}, wait="20s")
    assert done["status"] == "Failed"
    assert "env:" in done["reason"]


def test_fired_by_hand(desk: Desk) -> None:
    """`fire` makes a run of a template with its defaults, and says which parameters it lacks."""
    desk.template("handy", 'test "$N" = 5', env={"N": "${{ parameters.n }}"},
                  parameters={"properties": {"n": {"type": "integer", "default": 5}}})  # fmt: skip
    run = desk.api.post("/triggers/handy/fire", {}, 201)
    desk.api.until_run(run["id"], "succeeded")
    desk.template("needy", parameters={"properties": {"n": {}}, "required": ["n"]})
    assert desk.api.post("/triggers/needy/fire", {}, 422)["errors"][0]["path"] == "n"
    desk.api.post("/triggers/handy/pause", {})
    assert desk.api.post("/triggers/handy/resume", {})["state"] == "active"


def test_restart_keeps_the_future(tmp_path: Path, node: Any) -> None:
    """What came due while the daemon was away runs when it is back, once."""
    clock = ShiftedClock()
    with serving(tmp_path / "data", node.url, clock=clock) as api:
        desk = Desk(api)
        desk.template("tomorrow")
        ids = [desk.submit({"template": "tomorrow", "delay": "1d"})["id"] for _ in range(3)]
    clock.step(DAY + HOUR)
    with serving(tmp_path / "data", node.url, clock=clock) as api:
        desk = Desk(api)
        assert [desk.get(i, wait="20s")["status"] for i in ids] == ["Succeeded"] * 3
        assert [desk.get(i)["attempts"] for i in ids] == [1] * 3
        assert api.get("/audit")["ok"]
