"""Jobs over HTTP, from the request to the result."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import specs
from orchestrator.domain.clock import to_rfc3339
from tests.support.api import Api, serving
from tests.support.jobdesk import Desk, job, template

NAMES = {
    "id",
    "status",
    "reason",
    "template",
    "parameters",
    "priority",
    "created_at",
    "run_at",
    "started_at",
    "ended_at",
    "attempts",
    "result",
    "callback_host",
}
TABLE = {
    "properties": {
        "table": {"type": "string", "minLength": 1},
        "rows": {"type": "integer", "default": 10},
    },
    "required": ["table"],
}
SAYS = {"TABLE": "${{ parameters.table }}", "ROWS": "${{ parameters.rows }}"}


def test_template_with_parameters(desk: Desk) -> None:
    """A job of a template runs with what it was given, defaults filled in, and tells its output."""
    desk.template("copy", 'echo "$TABLE $ROWS"', env=SAYS, parameters=TABLE)
    done = desk.submit({"template": "copy", "parameters": {"table": "orders"}}, wait="20s")
    assert set(done) == NAMES
    assert done["status"] == "Succeeded"
    assert done["template"] == "copy"
    assert done["parameters"] == {"table": "orders", "rows": 10}
    assert done["result"] == {"exit_code": 0, "stdout": "orders 10\n", "stderr": ""}
    assert done == desk.get(done["id"])
    run = desk.api.get(f"/runs/{done['id']}")
    assert (run["trigger"], run["origin"], run["state"]) == ("copy", "job", "succeeded")


def test_default_template(desk: Desk) -> None:
    """`{"input": …}` alone goes to the default template, of which there is one."""
    assert "is missing" in str(desk.submit({"input": "x"}, status=422)["errors"])
    desk.template("any", 'echo "got $IN"', env={"IN": "${{ input }}"}, default=True)
    done = desk.submit({"input": "seven"}, wait="20s")
    assert (done["status"], done["input"]) == ("Succeeded", "seven")
    assert done["result"]["stdout"] == "got seven\n"
    refused = desk.template("other", default=True, status=409)
    assert "'any' is the default template already" in refused["detail"]
    desk.api.delete("/triggers/any", 202)
    desk.template("other", default=True)
    assert desk.submit({"input": 1})["template"] == "other"
    desk.api.put("/triggers/other", template("other"))
    assert "is missing" in str(desk.submit({"input": 1}, status=422)["errors"])


def test_whole_job(desk: Desk) -> None:
    """A job that comes whole is checked as a trigger file's is, and runs under the trigger jobs."""
    done = desk.submit({"job": job("echo whole")}, wait="20s")
    assert (done["template"], done["status"]) == (None, "Succeeded")
    bad = job("echo ${{ nothing.here }}")
    refused = desk.submit({"job": bad}, status=422)
    assert refused["errors"][0]["path"].startswith("job.Tasks[0].Engine")
    limits = {**template("jobs"), "max_in_flight": 1, "retry": {"max_attempts": 1}}
    desk.api.put("/triggers/jobs", limits)
    failed = desk.submit({"job": job("echo whole; exit 3")}, wait="20s")
    assert (failed["status"], failed["reason"]) == ("Failed", "exit 3 (after 1 of 1 attempts)")
    assert failed["result"] == {"exit_code": 3, "stdout": "whole\n", "stderr": ""}


def test_same_key_same_job(desk: Desk) -> None:
    """The same Idempotency-Key gives the same job, with another request a 422, also at once."""
    desk.template("once", 'echo "$TABLE"', env=SAYS, parameters=TABLE)
    body = {"template": "once", "parameters": {"table": "a"}}
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(desk.submit(body, key="k-1")["id"]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    other = {"template": "once", "parameters": {"table": "b"}}
    refused = desk.submit(other, key="k-1", status=422)
    assert found[0] in refused["detail"]
    assert desk.submit(other, key="k-2")["id"] != found[0]
    desk.until(found[0], "Succeeded")
    # What has changed since does not matter to the same request.
    desk.api.delete("/triggers/once", 202)
    assert desk.submit(body, key="k-1")["id"] == found[0]
    assert len(desk.api.get("/runs", trigger="once")["items"]) == 2


def test_long_poll_ends_with_the_job(desk: Desk) -> None:
    """`wait` answers when the job has ended; one that goes on is shown as it is."""
    desk.template("slow", "sleep 1")
    asked = desk.submit({"template": "slow"})
    assert asked["status"] == "Queued"
    assert desk.get(asked["id"], wait="10ms")["status"] in ("Queued", "Running")
    assert desk.get(asked["id"], wait="20s")["status"] == "Succeeded"
    assert desk.get(asked["id"], wait="20s")["status"] == "Succeeded"


def test_long_polls_hold_no_thread(desk: Desk) -> None:
    """A hundred requests that wait keep nobody else from being answered."""
    desk.template("held", paused=False)
    later = desk.submit({"template": "held", "delay": "1h"})["id"]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(desk.get(later, wait="30s")["status"]))
        for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    assert desk.submit({"template": "held"}, wait="20s")["status"] == "Succeeded"
    assert found == []
    desk.cancel(later)
    for thread in threads:
        thread.join()
    assert found == ["Cancelled"] * 100


def test_batch(desk: Desk) -> None:
    """A batch is taken in whole or not at all; each key within it stands for one job."""
    desk.template("many", parameters=TABLE, env=SAYS)
    items: list[dict[str, Any]] = [
        {"template": "many", "parameters": {"table": f"t{n}"}, "delay": "1h"} for n in range(50)
    ]
    items[7]["idempotency_key"] = items[8]["idempotency_key"] = "twin"
    items[8] = {**items[7]}
    response = desk.send("POST", "/jobs:batch", {"jobs": items})
    assert response.status_code == 202, response.text
    ids = [item["id"] for item in response.json()["items"]]
    assert response.json()["count"] == 50
    assert len(set(ids)) == 49
    assert ids[7] == ids[8]
    again = desk.send("POST", "/jobs:batch", {"jobs": [items[7]]}).json()
    assert again["items"][0]["id"] == ids[7]
    items[3]["parameters"] = {"tabel": 1}
    items[5]["run_at"] = "2020-01-01T00:00:00Z"
    refused = desk.send("POST", "/jobs:batch", {"jobs": items})
    assert refused.status_code == 422
    places = {error["path"] for error in refused.json()["errors"]}
    assert places == {
        "jobs[3].parameters.table",
        "jobs[3].parameters.tabel",
        "jobs[5].delay",
    }
    assert len(desk.api.get("/runs", trigger="many", limit=1000)["items"]) == 49
    for job_id in set(ids):
        desk.cancel(job_id)


def test_list_by_status_and_window(desk: Desk) -> None:
    """Jobs are listed by the time at which they are to run, in pages, each once."""
    desk.template("spread")
    clock = desk.api.orch.app.clock
    begin = clock.now() + 3_600_000_000
    at = [to_rfc3339(begin + minute * 60_000_000) for minute in range(10)]
    ids = [desk.submit({"template": "spread", "run_at": moment})["id"] for moment in at]
    cursor, seen = None, []
    while True:
        page = desk.list(status="Queued", since=at[2], until=at[8], limit=4, cursor=cursor)
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ids[2:8][::-1]
    desk.cancel(ids[4])
    desk.until(ids[4], "Cancelled")
    assert [j["id"] for j in desk.list(status="cancelled", since=at[0])["items"]] == [ids[4]]
    both = desk.list(status="Cancelled,Queued", since=at[0], until=at[9])
    assert [j["id"] for j in both["items"]] == ids[:9][::-1]
    assert ids[4] not in [j["id"] for j in desk.list(status="Queued", since=at[0])["items"]]
    for job_id in ids:
        if job_id != ids[4]:
            desk.cancel(job_id)


def test_secret_parameters_are_shown_to_nobody(desk: Desk) -> None:
    """What the schema marks as writeOnly reaches the job, and no answer."""
    schema = {"properties": {"pw": {"type": "string", "writeOnly": True}, "user": {}}}
    env = {"PW": "${{ parameters.pw }}"}
    desk.template("login", 'test "$PW" = hunter2', env=env, parameters=schema)
    body = {"template": "login", "parameters": {"pw": "hunter2", "user": "u"}}
    done = desk.submit(body, wait="20s")
    assert done["status"] == "Succeeded"
    assert done["parameters"] == {"pw": "…", "user": "u"}
    assert "hunter2" not in desk.send("GET", f"/api/v1/runs/{done['id']}").text


def test_ready_templates(desk: Desk) -> None:
    """Echo and bash of the library work as they are."""
    checker = desk.api.orch.app.registrar.checker
    for path in specs.templates().values():
        document = specs.load(path.read_bytes(), file=path.name)
        checked = checker.check(checker.parse(document), base_dir=path.parent)
        desk.api.orch.app.registrar.register([checked], "test")
    said = desk.submit({"template": "echo", "parameters": {"text": "ahoy"}}, wait="20s")
    assert said["result"]["stdout"].startswith("hello ahoy ")
    script = {"script": 'n=6; echo "$((n * 7))"'}
    assert desk.submit({"template": "bash", "parameters": script}, wait="20s")["result"] == {
        "exit_code": 0,
        "stdout": "42\n",
        "stderr": "",
    }


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "template"),
    ({"template": "strict"}, "parameters.table"),
    ({"template": "strict", "parameters": {"table": 1}}, "parameters.table"),
    ({"template": "strict", "parameters": {"table": "t", "more": 1}}, "parameters.more"),
    ({"template": "strict", "parameters": []}, "parameters"),
    ({"template": "nobody"}, "template"),
    ({"template": "ticking"}, "template"),
    ({"template": 7}, "template"),
    ({"templat": "strict"}, "templat"),
    ({"template": "strict", "job": {}}, "job"),
    ({"job": {"Type": "batch"}}, "job"),
    ({"job": job("true"), "parameters": {"a": 1}}, "parameters"),
    ({"job": job("true"), "input": 1}, "input"),
    ({"template": "free", "run_at": "tomorrow"}, "run_at"),
    ({"template": "free", "run_at": "2020-01-01T00:00:00Z"}, "run_at"),
    ({"template": "free", "run_at": "9999-01-01T00:00:00Z"}, "run_at"),
    ({"template": "free", "delay": "soon"}, "delay"),
    ({"template": "free", "delay": "9999999999999d"}, "delay"),
    ({"template": "free", "delay": "1s", "run_at": "2100-01-01T00:00:00Z"}, "delay"),
    ({"template": "free", "priority": "high"}, "priority"),
    ({"template": "free", "priority": 10**7}, "priority"),
    ({"template": "free", "callback_url": "ftp://x/y"}, "callback_url"),
    ({"template": "free", "callback_url": "https://a:b@x/y"}, "callback_url"),
    ({"template": "free", "input": "x" * 300_000}, ""),
]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory):
    """An orchestrator without a cluster, with a few templates."""
    with serving(tmp_path_factory.mktemp("refusing")) as served:
        desk = Desk(served)
        desk.template("strict", parameters=TABLE)
        desk.template("free")
        served.register("ticking")
        yield desk


@pytest.mark.parametrize(("body", "place"), BAD)
def test_bad_bodies(refusing: Desk, body: dict[str, Any], place: str) -> None:
    """What is wrong with a request is told with its place and a remedy, and nothing is made."""
    refused = refusing.submit(body, status=422)
    assert refused["errors"][0]["path"].startswith(place)
    assert all(error["message"] and error["remedy"] for error in refused["errors"])
    assert refusing.list()["items"] == []


@pytest.mark.parametrize("key", ["", "ä", "x" * 256, "a\tb"])
def test_bad_keys(refusing: Desk, key: str) -> None:
    """A client's key is one of visible ASCII, of at most 255 characters."""
    headers = {"Idempotency-Key": key.encode()}
    response = refusing.api.send("POST", "/jobs", json={"template": "free"}, headers=headers)
    assert response.status_code in (400, 422), response.text


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/jobs?status=Done", "status"),
        ("/jobs?since=now", "since"),
        ("/jobs?limit=0", "limit"),
        ("/jobs?cursor=abc", "cursor"),
        ("/jobs?state=Queued", "state"),
        ("/jobs/r1?wait=10", "wait"),
        ("/jobs/r1?wait=2m", "wait"),
    ],
)
def test_bad_queries(refusing: Desk, path: str, place: str) -> None:
    """A parameter that is not understood is refused, not left out."""
    response = refusing.api.send("GET", path)
    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == place


def test_what_is_no_job(refusing: Desk) -> None:
    """The run of another trigger is no job; nor is what does not exist."""
    run_id = refusing.api.post("/triggers/ticking/fire", {}, 201)["id"]
    for path in (f"/jobs/{run_id}", "/jobs/r0", "/jobs/%20"):
        assert refusing.api.send("GET", path).status_code == 404
        assert refusing.api.send("DELETE", path, json={}).status_code == 404


def test_paused_template(refusing: Desk) -> None:
    """A paused template takes nothing until it is resumed."""
    refusing.template("resting", paused=True)
    assert "is paused" in refusing.submit({"template": "resting"}, status=409)["detail"]
    refusing.api.post("/triggers/resting/resume", {})
    refusing.cancel(refusing.submit({"template": "resting"})["id"])


def test_export_is_a_backup(refusing: Desk) -> None:
    """GET /export streams what /api/v1/backup does."""
    response = refusing.api.send("GET", "/export")
    assert response.status_code == 200
    assert response.content.startswith(b"SQLite format 3\0")
    assert int(response.headers["Orch-Triggers"]) >= 3


def test_guards_hold_here(refusing: Desk) -> None:
    """A foreign page can reach none of it."""
    for method, path in (("POST", "/jobs"), ("GET", "/jobs"), ("GET", "/export")):
        foreign = {"Origin": "https://evil.example"}
        assert refusing.api.send(method, path, json={}, headers=foreign).status_code == 403
        named = {"Host": "evil.example"}
        assert refusing.api.send(method, path, json={}, headers=named).status_code == 421
    plain = {"Content-Type": "text/plain"}
    assert refusing.api.send("POST", "/jobs", data="{}", headers=plain).status_code == 415


def test_token_is_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where there are tokens, nobody asks for jobs or backups without one."""
    with serving(tmp_path_factory.mktemp("tokens")) as api:
        token = api.post("/tokens", {"name": "one"}, 201)["token"]
        for method, path in (("POST", "/jobs"), ("GET", "/jobs"), ("GET", "/export")):
            assert api.send(method, path, json={}).status_code == 401
        held = Api(api.orch, token)
        assert held.send("GET", "/jobs").status_code == 200
