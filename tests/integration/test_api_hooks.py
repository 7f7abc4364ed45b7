"""`POST /hooks/{trigger}`: who is heard, what is one run, and what an answer promises."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from connectors.streams import SourceUnavailable
from orchestrator.store.errors import Unavailable
from orchestrator.store.inbox import AlreadyTaken
from tests.support.api import Api, problem, serving
from tests.support.queuesource import MemoryConnector, MemoryQueue, queue_registry

ID = {"id": "e1"}


@pytest.fixture
def outside() -> MemoryQueue:
    """What the receiver of the hook reaches."""
    return MemoryQueue()


@pytest.fixture
def api(tmp_path: Path, outside: MemoryQueue) -> Iterator[Api]:
    """An orchestrator with a hook, and a queue beside it that is not one."""
    connector = MemoryConnector()
    connector.queues["q"] = outside
    with serving(tmp_path / "data", registry=queue_registry(connector)) as api:
        for name, more in (("hook", {"hook": True}), ("poll", {})):
            api.register(name, kind="queue", schedule=None, queue="q", **more)
        yield api


def bring(
    api: Api, name: str = "hook", body: bytes = b"", headers: Mapping[str, str] = ID, **more: Any
) -> requests.Response:
    return api.send("POST", f"/hooks/{name}", data=body, headers=headers, **more)


def keys(api: Api) -> list[str]:
    return sorted(run["key"] for run in api.get("/runs", trigger="hook", limit=500)["items"])


def test_an_answer_says_that_it_is_in_the_ledger(api: Api) -> None:
    """With the new run; one that comes again has made its run already."""
    first = bring(api)
    assert first.status_code == 202
    [run] = api.get("/runs", trigger="hook")["items"]
    assert first.json()["runs"] == [run["id"]]
    assert (run["values"]["event"], run["values"]["batch"]) == ({"id": "e1"}, {"count": 1})
    again = bring(api)
    assert (again.status_code, again.json()["runs"], keys(api)) == (202, [], ["e1"])


def test_several_events_of_one_request_are_a_run_each(api: Api) -> None:
    """One that stands in it twice is one; those that are known are left out."""
    bring(api)
    assert len(bring(api, body=b"e1 e2 e2 e3").json()["runs"]) == 2
    assert keys(api) == ["e1", "e2", "e3"]


def test_the_same_event_at_once_is_one_run(api: Api) -> None:
    """However many requests bring it; all of them are told that it is there."""
    answers: list[requests.Response] = []
    together = threading.Barrier(8)

    def send() -> None:
        together.wait()
        answers.append(requests.post(f"{api.url}/hooks/hook", headers=ID, timeout=30))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [202] * 8
    assert Counter(len(answer.json()["runs"]) for answer in answers) == {1: 1, 0: 7}
    assert keys(api) == ["e1"]


def test_an_event_that_comes_in_elsewhere_again_and_again_is_sent_later(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender is not kept waiting for ever."""
    inboxes = api.orch.app.hooks._inboxes

    def late(*_: Any) -> Any:
        raise AlreadyTaken

    monkeypatch.setattr(inboxes, "take_in", late)
    assert bring(api).status_code == 503
    monkeypatch.undo()
    assert (bring(api).status_code, keys(api)) == (202, ["e1"])


@pytest.mark.parametrize("name", ["nobody", "poll", "x" * 200, "%2e%2e"])
def test_what_is_no_hook_is_not_there(api: Api, name: str) -> None:
    """Whether there is a trigger of that name is nobody's business."""
    answer = bring(api, name)
    assert answer.status_code == 404
    if name in ("nobody", "poll"):
        assert problem(answer)["detail"] == "there is no such hook"


def test_a_paused_trigger_is_brought_its_events_later(api: Api) -> None:
    """With a hint when; a deleted one has no hook any more."""
    bring(api)
    api.post("/triggers/hook/pause", {"note": "x"})
    answer = bring(api, headers={"id": "e2"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "paused" in problem(answer)["detail"]
    api.post("/triggers/hook/resume")
    assert bring(api, headers={"id": "e2"}).status_code == 202
    api.delete("/triggers/hook", 202)
    assert bring(api, headers={"id": "e3"}).status_code == 404


def test_a_trigger_that_is_paused_while_a_request_is_read_takes_nothing(
    api: Api, outside: MemoryQueue
) -> None:
    """The transaction itself looks."""
    outside.faults["receive"] = lambda: api.orch.pause("hook")
    assert bring(api).status_code == 503
    assert keys(api) == []


def test_a_hook_needs_no_token_but_what_its_trigger_wants(api: Api) -> None:
    """The API does; other pages, other hosts and encoded bodies get nowhere here either."""
    api.post("/tokens", {"name": "me"}, 201)
    assert api.send("GET", "/api/v1/triggers").status_code == 401
    assert bring(api).status_code == 202
    assert bring(api, headers={}).status_code == 401
    assert bring(api, headers={**ID, "Origin": "http://elsewhere"}).status_code == 403
    assert bring(api, headers={**ID, "Host": "elsewhere"}).status_code == 421
    assert bring(api, headers={**ID, "Content-Encoding": "gzip"}).status_code == 415
    assert api.send("GET", "/hooks/hook").status_code == 405


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_not_read(api: Api, chunked: bool) -> None:
    """Said or found out."""
    body = iter([b"x" * 600, b"x" * 600]) if chunked else b"x" * 1001
    answer = api.send("POST", "/hooks/hook", data=body, headers=ID)
    assert answer.status_code == 413
    assert bring(api, body=b"x" * 1000).status_code == 202
    assert len(keys(api)) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SourceUnavailable("no storage"), 503),
        (Unavailable("no database"), 503),
        (ValueError(), 500),
    ],
)
def test_what_fails_here_is_sent_again(
    api: Api, outside: MemoryQueue, error: Exception, status: int
) -> None:
    """No answer but 2xx means that it is in the ledger; what went wrong stays inside."""

    def fail() -> None:
        raise error

    outside.faults["receive"] = fail
    answer = bring(api)
    assert (answer.status_code, keys(api)) == (status, [])
    assert "storage" not in answer.text
    outside.faults.clear()
    assert bring(api).status_code == 202
