"""Triggers over HTTP, without a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api import JOB, Api, problem, serving, trigger
from tests.support.waiting import until

YAML = """
apiVersion: orch/v1
kind: cron
name: from-yaml
every: 1h
job:
  Type: batch
  Tasks:
    - Name: main
      Engine: {Type: docker, Params: {Image: busybox}}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("api")) as api:
        yield api


@pytest.fixture
def api(served: Api) -> Iterator[Api]:
    yield served
    for name in served.names():
        served.send("DELETE", f"/api/v1/triggers/{name}", params={"cancel": "true"})
    until(lambda: not served.names(), "all triggers deleted")


def test_a_registered_trigger_is_shown_as_its_file_states_it(api: Api) -> None:
    """POST answers 201 with the trigger, whose document registers the same trigger again."""
    shown = api.register("tick", timeout="30s", retry={"max_attempts": 2}, overlap="queue")
    assert shown == api.get("/triggers/tick")
    assert shown["state"] == "active"
    assert shown["version"] == 1
    assert shown["next_at"].endswith("-01-01T00:00:00Z")
    assert shown["last_run"] is None
    assert shown["counts"] == {"pending": 0, "submitting": 0, "running": 0, "dead": 0}
    assert shown["policies"]["overlap"] == "queue"
    assert shown["policies"]["timeout"] == "30s"
    assert shown["policies"]["stop_grace"] == "15s"
    assert shown["policies"]["retry"]["max_attempts"] == 2
    assert [v["version"] for v in shown["versions"]] == [1]
    assert shown["partitions"][0]["planned"] == shown["next_at"]
    document = shown["document"]
    assert document["schedule"] == "0 0 1 1 *"
    assert document["retry"] == {"max_attempts": 2}
    assert api.put("/triggers/tick", document)["action"] == "unchanged"


def test_the_answer_says_where_the_trigger_is(api: Api) -> None:
    """The Location header of a 201 is the trigger's address."""
    response = api.send("POST", "/api/v1/triggers", json=trigger())
    assert response.headers["Location"] == "/api/v1/triggers/tick"


def test_yaml_is_told_by_its_content_type(api: Api) -> None:
    """A trigger file is taken as it stands on disk, and its mistakes are told by line."""
    for media in ("application/yaml", "text/yaml; charset=utf-8"):
        response = api.raw("/api/v1/triggers", YAML, media=media)
        assert response.status_code == 201, response.text
        api.delete("/triggers/from-yaml", 202)
        until(lambda: not api.names(), "the trigger deleted")
    wrong = api.raw("/api/v1/triggers", YAML.replace("every", "evry"), media="application/yaml")
    assert wrong.status_code == 422
    errors = problem(wrong)["errors"]
    assert errors[0] == {
        "path": "evry",
        "message": "unknown key 'evry'",
        "remedy": "Did you mean 'every'?",
        "line": 5,
        "column": 1,
    }


def test_a_plain_job_takes_its_settings_from_the_query(api: Api) -> None:
    """Settings and policies stand beside the job in the address, with the types of a file."""
    response = api.send(
        "POST",
        "/api/v1/triggers",
        params={"kind": "cron", "name": "p", "schedule": "0 2 * * *", "max_in_flight": "3"},
        json=JOB,
    )
    assert response.status_code == 201, response.text
    shown = response.json()
    assert shown["document"]["schedule"] == "0 2 * * *"
    assert shown["policies"]["max_in_flight"] == 3


def test_a_plain_job_takes_a_list_from_the_query(api: Api) -> None:
    """What is JSON in a parameter is read as JSON."""
    times = '["2999-01-01T00:00:00Z", "2999-01-02T00:00:00Z"]'
    response = api.send(
        "POST", "/api/v1/triggers", params={"kind": "cron", "name": "p", "at": times}, json=JOB
    )
    assert response.status_code == 201, response.text
    assert response.json()["next_at"] == "2999-01-01T00:00:00Z"


def test_parts_make_a_trigger_too(api: Api) -> None:
    """{kind, name, settings, job} is a trigger file whose settings and policies stand together."""
    body = {
        "kind": "cron",
        "name": "parts",
        "settings": {"every": "1h", "timeout": "9s"},
        "job": JOB,
    }
    shown = api.post("/triggers", body, 201)
    assert shown["document"]["every"] == "1h"
    assert shown["policies"]["timeout"] == "9s"


def test_without_a_job_the_default_of_the_kind_is_taken(api: Api) -> None:
    """A trigger file may leave the job out."""
    shown = api.register("tick", job=None)
    assert shown["document"]["job"]["Tasks"][0]["Engine"]["Type"] == "wasm"


def test_names_are_taken_once(api: Api) -> None:
    """A second registration is a conflict that says what to do."""
    api.register()
    found = api.post("/triggers", trigger(), 409)
    assert "exists already" in found["detail"]
    assert "orch apply" in found["detail"]


def test_lists_are_pages(api: Api) -> None:
    """Triggers come by name; the cursor of one page begins the next; kind filters."""
    for name in ("b", "a", "c"):
        api.register(name)
    first = api.get("/triggers", limit=2)
    assert [item["name"] for item in first["items"]] == ["a", "b"]
    rest = api.get("/triggers", limit=2, cursor=first["next"])
    assert [item["name"] for item in rest["items"]] == ["c"]
    assert rest["next"] is None
    assert api.get("/triggers", kind="kafka")["items"] == []
    assert len(api.get("/triggers", kind="cron")["items"]) == 3


def test_put_makes_changes_and_repeats(api: Api) -> None:
    """PUT tells what it did: created, then unchanged, then changed with a new version."""
    created = api.put("/triggers/tick", trigger(), 201)
    assert created["action"] == "created"
    assert api.put("/triggers/tick", trigger())["action"] == "unchanged"
    changed = api.put("/triggers/tick?reset=true", trigger(timeout="7s"))
    assert changed["action"] == "changed"
    assert changed["trigger"]["version"] == 2
    assert [v["version"] for v in changed["trigger"]["versions"]] == [2, 1]


def test_put_takes_the_name_from_the_address(api: Api) -> None:
    """A file without a name gets it; one with another is refused."""
    body = trigger()
    del body["name"]
    assert api.put("/triggers/tick", body, 201)["trigger"]["name"] == "tick"
    found = api.put("/triggers/tack", trigger(), 422)
    assert found["errors"][0]["path"] == "name"
    assert api.names() == ["tick"]


def test_pause_and_resume(api: Api) -> None:
    """A paused trigger says why and when it fires next: never, until it is resumed."""
    api.register()
    paused = api.post("/triggers/tick/pause", {"note": "disk full"})
    assert (paused["state"], paused["note"], paused["next_at"]) == ("paused", "disk full", None)
    assert api.get("/status")["triggers"]["paused"] == 1
    resumed = api.post("/triggers/tick/resume", {"skip": True})
    assert resumed["state"] == "active"
    assert resumed["next_at"] is not None


def test_fire_makes_a_run(api: Api) -> None:
    """Fire answers with the run, which is in the ledger."""
    api.register()
    response = api.send("POST", "/api/v1/triggers/tick/fire", json={})
    assert response.status_code == 201
    run = response.json()
    assert run["trigger"] == "tick"
    assert run["origin"] == "manual"
    assert response.headers["Location"] == f"/api/v1/runs/{run['id']}"
    assert api.get("/triggers/tick")["last_run"]["id"] == run["id"]


def test_backfill_fills_gaps_once(api: Api) -> None:
    """A dry run tells what would be done; the second time everything is there."""
    api.register("filled", schedule="0 0 * * *")
    api.post("/triggers/filled/pause")
    window = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-04T00:00:00+00:00"}
    preview = api.post("/triggers/filled/backfill", {**window, "dry_run": True})
    assert preview == {"created": 3, "revived": 0, "kept": 0, "dry_run": True}
    assert api.get("/runs", trigger="filled")["items"] == []
    assert api.post("/triggers/filled/backfill", window)["created"] == 3
    assert api.post("/triggers/filled/backfill", window)["kept"] == 3
    runs = api.get("/runs", trigger="filled", order="oldest")["items"]
    assert [run["key"][:10] for run in runs] == ["2020-01-01", "2020-01-02", "2020-01-03"]


def test_delete_lets_go(api: Api) -> None:
    """A deleted trigger is gone, its name free, its runs still in the ledger."""
    api.register()
    run = api.post("/triggers/tick/fire", status=201)
    assert api.delete("/triggers/tick?cancel=true", 202)["state"] == "deleting"
    until(lambda: not api.names(), "the trigger deleted")
    assert api.get("/runs", trigger="tick")["items"][0]["id"] == run["id"]
    assert api.get(f"/runs/{run['id']}")["state"] == "cancelled"
    api.get("/triggers/tick", 404)
    api.delete("/triggers/tick", 404)
    api.register()


def test_a_batch_registers_all(api: Api) -> None:
    """A batch of triggers is one request and one transaction."""
    body = {"triggers": [trigger(f"t{i}", schedule=f"{i % 60} * * * *") for i in range(300)]}
    found = api.post("/triggers:batch", body, 201)
    assert found["count"] == 300
    assert [item["name"] for item in found["items"][:2]] == ["t0", "t1"]
    assert len(api.names()) == 300
    assert api.get("/triggers/t59")["document"]["schedule"] == "59 * * * *"
    assert api.get("/triggers/t60")["document"]["schedule"] == "0 * * * *"


def test_a_batch_registers_all_or_none(api: Api) -> None:
    """One bad trigger keeps all out; every problem is told with the index of its trigger."""
    api.register("taken")
    body = {
        "triggers": [
            trigger("good"),
            trigger("bad name"),
            trigger("late", at="2001-01-01T00:00:00Z"),
            trigger("typo", overlap="skipp"),
            trigger("job", job={"Type": "batch", "Tasks": []}),
            trigger("good"),
            trigger("taken"),
            "text",
        ]
    }
    found = api.post("/triggers:batch", body, 422)
    places = {error["path"].partition("]")[0] + "]" for error in found["errors"]}
    assert places == {f"triggers[{i}]" for i in (1, 2, 3, 4, 5, 6, 7)}
    by_path = {error["path"]: error for error in found["errors"]}
    assert by_path["triggers[3].overlap"]["remedy"] == "Did you mean 'skip'?"
    assert by_path["triggers[2].at"]["message"] == "nothing is due any more"
    assert "triggers[0]" in by_path["triggers[5].name"]["message"]
    assert all(error["remedy"] for error in found["errors"])
    assert api.names() == ["taken"]


def test_a_batch_of_taken_names_is_a_conflict(api: Api) -> None:
    """Names that exist are all told at once."""
    api.register("a")
    api.register("b")
    found = api.post("/triggers:batch", {"triggers": [trigger(n) for n in "abc"]}, 409)
    assert [e["path"] for e in found["errors"]] == ["triggers[0].name", "triggers[1].name"]


def test_jobs_that_differ_in_a_batch_stay_apart(api: Api) -> None:
    """Sharing the checks of equal jobs mixes nothing up: each trigger keeps its own."""
    other = json.loads(json.dumps(JOB))
    other["Tasks"][0]["Engine"]["Params"]["Image"] = "alpine:3"
    body = {
        "triggers": [
            trigger("a"),
            trigger("b", job=other),
            trigger("c", timeout="9s"),
            trigger("d", schedule=None, every="1h", description="another"),
        ]
    }
    api.post("/triggers:batch", body, 201)

    def image(name: str) -> str:
        job = api.get(f"/triggers/{name}")["document"]["job"]
        return job["Tasks"][0]["Engine"]["Params"]["Image"]

    assert [image(name) for name in "abcd"] == ["busybox:1", "alpine:3", "busybox:1", "busybox:1"]
    timeouts = [api.get(f"/triggers/{name}")["policies"]["timeout"] for name in "abcd"]
    assert timeouts == ["5m", "5m", "9s", "5m"]
    assert api.get("/triggers/d")["document"]["every"] == "1h"


def test_local_files_are_not_read_for_a_request(api: Api, tmp_path: Path) -> None:
    """A WASM module is a file of the client's machine, never of the orchestrator's."""
    module = tmp_path / "module.wasm"
    module.write_bytes(b"\0asm\1\0\0\0")
    job = {
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {"Type": "wasm", "Params": {"EntryModule": str(module)}},
            }
        ],
    }
    found = api.post("/triggers", trigger(job=job), 422)
    assert "EntryModule" in found["errors"][0]["path"]
    assert api.names() == []
