"""Many triggers applied over HTTP in one request, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.clock import SECOND, to_rfc3339
from orchestrator.domain.states import TriggerState
from orchestrator.operations import bulk
from orchestrator.store.triggers import Triggers
from orchestrator.store.values import Trigger
from tests.support.api import JOB, Api, serving, trigger
from tests.support.inprocess import ShiftedClock
from tests.support.waiting import until

_HOUR = 3600 * SECOND
_OTHER = {**JOB, "Labels": {"a": "b"}}


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


def _apply(api: Api, *triggers: Any, **params: str) -> list[dict[str, Any]]:
    response = api.send(
        "POST", "/api/v1/triggers:apply", json={"triggers": list(triggers)}, params=params
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    assert sum(answer["counts"].values()) == len(triggers)
    return answer["items"]


def _actions(items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(item["name"], item["action"]) for item in items]


def _writes(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of everything that is written from now on and waited for."""
    labels: list[str] = []
    database = api.orch.app.database
    write = database.write

    def watched(operation: Any, label: str) -> Any:
        labels.append(label)
        return write(operation, label)

    monkeypatch.setattr(database, "write", watched)
    return labels


def test_each_is_created_changed_or_left(api: Api) -> None:
    """The answer tells of each what was done, in the order of the request; twice does nothing."""
    api.register("a")
    api.register("b")
    wanted = [trigger("c"), trigger("b", timeout="9s"), trigger("a"), trigger("d", job=_OTHER)]
    items = _apply(api, *wanted)
    expected = [("c", "created"), ("b", "changed"), ("a", "unchanged"), ("d", "created")]
    assert _actions(items) == expected
    assert [item["version"] for item in items] == [1, 2, 1, 1]
    assert items[2]["uid"] == api.get("/triggers/a")["uid"]
    assert api.get("/triggers/b")["policies"]["timeout"] == "9s"
    assert api.get("/triggers/d")["document"]["job"]["Labels"] == {"a": "b"}
    assert {action for _, action in _actions(_apply(api, *wanted))} == {"unchanged"}


def test_what_is_as_it_should_be_costs_no_write(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unchanged triggers are read together by their names, and nothing is written."""
    wanted = [trigger(f"t{n}", schedule=f"{n % 60} 0 1 1 *") for n in range(50)]
    _apply(api, *wanted)
    labels = _writes(api, monkeypatch)
    reads: list[int] = []
    named = Triggers.named

    def counted(self: Triggers, names: Any) -> dict[str, Trigger]:
        reads.append(len(names))
        return named(self, names)

    monkeypatch.setattr(Triggers, "named", counted)
    assert {action for _, action in _actions(_apply(api, *wanted))} == {"unchanged"}
    assert reads == [50]
    assert not {"register", "change"} & set(labels)


def test_new_ones_share_a_transaction(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registering many costs a commit for each chunk of them, not for each."""
    monkeypatch.setattr(bulk, "_AT_ONCE", 10)
    labels = _writes(api, monkeypatch)
    _apply(api, *(trigger(f"t{n}") for n in range(25)))
    assert labels.count("register") == 3
    assert len(api.names()) == 25


def test_one_that_is_refused_keeps_no_other_out(api: Api) -> None:
    """Each that is wrong is told with status, place and remedy; the others are done."""
    items = _apply(
        api,
        trigger("good"),
        trigger("bad name"),
        trigger("late", at="2001-01-01T00:00:00Z"),
        trigger("typo", overlap="skipp"),
        trigger("good", timeout="1s"),
        "text",
        trigger("also-good"),
    )
    assert [item["action"] for item in items] == ["created", *["failed"] * 5, "created"]
    assert [item["name"] for item in items[1:6]] == ["bad name", "late", "typo", "good", None]
    assert [item["status"] for item in items[1:6]] == [422, 422, 422, 409, 422]
    assert items[2]["errors"][0]["message"] == "nothing is due any more"
    assert items[3]["errors"][0] == {
        "path": "overlap",
        "message": "'skipp' is no overlap policy",
        "remedy": "Did you mean 'skip'?",
    }
    assert "triggers[0]" in items[4]["detail"]
    assert api.names() == ["also-good", "good"]


def test_a_past_time_is_no_fault_of_what_is_there(tmp_path: Path) -> None:
    """A list of times that has run out is unchanged, not refused, when it is applied again."""
    clock = ShiftedClock()
    with serving(tmp_path / "data", clock=clock) as api:
        wanted = trigger("once", at=[to_rfc3339(clock.now() + _HOUR)])
        assert _actions(_apply(api, wanted)) == [("once", "created")]
        clock.step(2 * _HOUR)
        assert _actions(_apply(api, wanted)) == [("once", "unchanged")]


def test_a_comparison_writes_nothing(api: Api) -> None:
    """`dry_run` tells what would be done."""
    api.register("a")
    items = _apply(api, trigger("a", timeout="9s"), trigger("b"), trigger("a c"), dry_run="true")
    assert _actions(items) == [("a", "changed"), ("b", "created"), ("a c", "failed")]
    assert api.names() == ["a"]
    assert api.get("/triggers/a")["version"] == 1


def test_a_name_registered_meanwhile_is_compared(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger that somebody registers between our look and our write is changed or left."""
    api.register("a", timeout="9s")
    api.register("b")
    blind = Triggers.named
    monkeypatch.setattr(Triggers, "named", lambda self, names: {})
    items = _apply(api, trigger("a"), trigger("b"), trigger("c"))
    monkeypatch.setattr(Triggers, "named", blind)
    assert _actions(items) == [("a", "changed"), ("b", "unchanged"), ("c", "created")]


def test_one_that_is_being_deleted_is_refused(api: Api) -> None:
    """Neither changed nor unchanged: a trigger that drains must be gone first."""
    api.register("a")
    api.post("/triggers/a/fire", status=201)
    api.delete("/triggers/a", 202)
    assert api.orch.app.triggers.get("a").state is TriggerState.DELETING
    (item,) = _apply(api, trigger("a"))
    assert (item["action"], item["status"]) == ("failed", 409)
    assert "being deleted" in item["detail"]


def test_a_body_that_is_no_batch_is_refused(api: Api) -> None:
    """As a whole, with what to send."""
    for body in ({}, {"triggers": {}}, {"triggers": [], "more": 1}):
        found = api.post("/triggers:apply", body, 422)
        assert "triggers" in found["errors"][0]["remedy"]
    assert _apply(api) == []


def test_errors_of_an_answer_are_bounded(api: Api) -> None:
    """However many are wrong, each has its first reason."""
    wrong = trigger("x", overlap="no", rate="no", priority="no")
    items = _apply(api, *(wrong for _ in range(600)))
    assert sum(len(item["errors"]) for item in items) < 1600
    assert all(item["errors"] for item in items)


def test_a_body_of_another_kind_is_refused(api: Api, tmp_path: Path) -> None:
    """YAML is for single files."""
    answer = api.raw("/api/v1/triggers:apply", "triggers: []", media="application/yaml")
    assert answer.status_code == 415
