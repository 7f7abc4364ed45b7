"""Chains and fan-in: triggers that follow others, and the promise that none follows itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.clock import DAY, SECOND, to_rfc3339
from orchestrator.store.outbox import Callback, Outbox, put
from orchestrator.store.schema import arrivals, edges, outbox
from tests.support.api import Api, serving, trigger
from tests.support.inprocess import Orch, ShiftedClock
from tests.support.jobdesk import Desk, job, template
from tests.support.waiting import until

KEYS = {
    "A": '${{ after["load-a"].key }}',
    "B": "${{ after.load-b.key }}",
}


def follows(name: str, *after: str, **more: Any) -> dict[str, Any]:
    """A template that waits for others."""
    return template(name, "true", after=list(after), **more)


def runs_of(api: Api, name: str) -> list[dict[str, Any]]:
    """Its runs, oldest first."""
    return api.get("/runs", trigger=name, order="oldest")["items"]


def succeed(desk: Desk, name: str) -> str:
    """Let one run of a template succeed."""
    done = desk.submit({"template": name}, wait="20s")
    assert done["status"] == "Succeeded"
    return done["id"]


def settled(api: Api) -> None:
    """Wait until every word has been taken from the outbox."""
    until(lambda: api.orch.app.callbacks._outbox.next_at() is None, "the outbox is empty")


def test_fires_when_all_have_succeeded(desk: Desk) -> None:
    """A run for each time that all of `after` have succeeded, with their keys; a failure does not
    count, and of one that succeeds again meanwhile the latest does."""
    desk.template("load-a")
    desk.template("load-b")
    desk.template("load-bad", "exit 1")
    both = template("merge", 'echo "$A $B"', KEYS, after=["load-a", "load-b"])
    desk.api.post("/triggers", both, 201)
    succeed(desk, "load-a")
    second = succeed(desk, "load-a")
    settled(desk.api)
    assert runs_of(desk.api, "merge") == []
    third = succeed(desk, "load-b")
    run = until(lambda: runs_of(desk.api, "merge"), "it fires")[0]
    ended = desk.api.until_run(run["id"], "succeeded")
    keys = [desk.api.get(f"/runs/{run_id}")["key"] for run_id in (second, third)]
    assert ended["attempts"][0]["stdout"] == " ".join(keys) + "\n"
    assert ended["values"]["after"]["load-a"]["run"] == second
    # For the next one both have to succeed again.
    succeed(desk, "load-b")
    settled(desk.api)
    assert len(runs_of(desk.api, "merge")) == 1
    succeed(desk, "load-a")
    until(lambda: len(runs_of(desk.api, "merge")) == 2, "it fires again")


def test_failures_do_not_count(desk: Desk) -> None:
    """A trigger that has failed holds up what waits for it."""
    desk.template("shaky", "exit 1")
    desk.api.post("/triggers", follows("waits", "shaky"), 201)
    assert desk.submit({"template": "shaky"}, wait="20s")["status"] == "Failed"
    settled(desk.api)
    assert runs_of(desk.api, "waits") == []


def test_same_due_time(tmp_path: Path, node: Any) -> None:
    """With `match: time` there is one run for each due time at which all have succeeded."""
    clock = ShiftedClock()
    with serving(tmp_path / "data", node.url, clock=clock) as api:
        first = clock.now() // SECOND + 2
        times = [to_rfc3339((first + n) * SECOND) for n in range(3)]
        shell = job("true")
        api.register("odd", at=[times[0], times[2]], schedule=None, job=shell, overlap="allow")
        api.register("all", at=times, schedule=None, job=shell, overlap="allow")
        api.post("/triggers", follows("pair", "odd", "all", match="time"), 201)
        until(lambda: len(runs_of(api, "pair")) == 2, "two pairs", within=20)
        found = runs_of(api, "pair")
        assert [run["key"] for run in found] == [f"after-{times[0]}", f"after-{times[2]}"]
        until(lambda: len(runs_of(api, "all")) == 3, "all three")
        # A run by hand is for no due time.
        api.post("/triggers/all/fire", {}, 201)
        api.orch.drained()
        settled(api)
        assert len(runs_of(api, "pair")) == 2
        # What has waited in vain goes after a while.
        rows = _count(api.orch, arrivals)
        assert rows == 1
        api.orch.app.retention.sweep_trail(clock.now() + DAY)
        assert _count(api.orch, arrivals) == 0


def test_callback_gives_a_template_its_cause(desk: Desk) -> None:
    """A template that a callback sets off gets what set it off; one that needs parameters does
    not run."""
    says = {"K": "${{ after.first.state }}"}
    desk.api.post("/triggers", template("then", 'test "$K" = succeeded', says), 201)
    needy = {"properties": {"x": {}}, "required": ["x"]}
    desk.template("lacking", parameters=needy)
    then = [{"trigger": "then"}, {"trigger": "lacking"}]
    desk.template("first", callbacks={"on_success": then})
    succeed(desk, "first")
    run = until(lambda: runs_of(desk.api, "then"), "it is set off")[0]
    desk.api.until_run(run["id"], "succeeded")
    settled(desk.api)
    assert runs_of(desk.api, "lacking") == []


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory):
    """An orchestrator without a cluster."""
    with serving(tmp_path_factory.mktemp("graph")) as api:
        yield api


def calls(name: str, *others: str, event: str = "on_success") -> dict[str, Any]:
    """A cron trigger whose callbacks are other triggers' jobs."""
    return trigger(name, callbacks={event: [{"trigger": other} for other in others]})


def test_circles_are_refused(graph: Api) -> None:
    """No registration, change or batch closes a circle of callbacks and `after`; nothing of a
    refused one is kept."""
    assert "a → a" in graph.post("/triggers", calls("a", "a"), 409)["detail"]
    graph.post("/triggers", calls("a", "b"), 201)  # b is not there yet
    graph.post("/triggers", follows("c", "b"), 201)
    refused = graph.post("/triggers", calls("b", "a", event="on_abort"), 409)
    assert "b → a → b" in refused["detail"]
    graph.post("/triggers", calls("b"), 201)
    closing = {**follows("c", "b"), "callbacks": {"on_failure": {"trigger": "a"}}}
    assert "b → c → a → b" in graph.put("/triggers/c", closing, 409)["detail"]
    assert graph.get("/triggers/c")["version"] == 1
    both = {**follows("w", "z"), "callbacks": {"on_success": {"trigger": "y"}}}
    batch = [calls("x", "y"), follows("z", "y"), calls("y", "w"), follows("x2", "z"), both]
    refused = graph.post("/triggers:batch", {"triggers": batch}, 409)
    assert "for ever" in refused["detail"]
    assert not {"x", "y", "z", "w"} & set(graph.names())
    # Without the edge that closed it the same is fine, and so is the circle's other half later.
    graph.put("/triggers/a", calls("a"))
    graph.put("/triggers/b", calls("b", "a"))
    graph.put("/triggers/c", {**follows("c", "b"), "callbacks": {"on_failure": {"trigger": "a"}}})
    assert graph.put("/triggers/a", calls("a", "c"), 409)
    graph.delete("/triggers/c", 202)
    until(lambda: "c" not in graph.names(), "c is gone")
    graph.put("/triggers/a", calls("a", "c"))


def test_long_chains_are_checked(graph: Api) -> None:
    """A chain of a thousand is no circle, and what would close it is found."""
    chain = [calls(f"n{n}", f"n{n + 1}") for n in range(1000)]
    graph.post("/triggers:batch", {"triggers": chain}, 201)
    told = graph.post("/triggers", calls("n1000", "n0"), 409)["detail"]
    assert "n1000 → n0 → n1 → n2" in told
    assert len(told) < 300


def test_deleted_triggers_follow_nobody(graph: Api) -> None:
    """With a trigger goes what it has stated and waited for."""
    graph.post("/triggers", follows("gone", "p", "q"), 201)
    uid = graph.get("/triggers/gone")["uid"]
    app = graph.orch.app
    with app.database.read() as conn:
        found = conn.execute(edges.select().where(edges.c.trigger_uid == uid)).all()
    assert {(row.source, row.target, row.event) for row in found} == {
        ("p", "gone", "after"),
        ("q", "gone", "after"),
    }
    graph.delete("/triggers/gone", 202)
    with app.database.read() as conn:
        assert conn.execute(edges.select().where(edges.c.trigger_uid == uid)).all() == []


def test_a_word_that_comes_twice_counts_once(graph: Api) -> None:
    """Delivered again, as after a death before it was noted, a success makes no second run."""
    app = graph.orch.app
    graph.post("/triggers", follows("lone", "solo"), 201)
    said = {"run": "r1", "trigger": "solo", "key": "k", "origin": "job", "due_at": 0}
    word = Callback(event="after", target={"after": "lone"}, payload=said)
    app.callbacks.stop()  # delivered by this test alone
    app.database.write(lambda tx: put(tx, "r1", [word], app.clock.now()), "test")
    pending = Outbox(app.database).pending(app.clock.now())
    for _ in range(3):
        app.callbacks._chain.arrive(pending[0])
    assert len(runs_of(graph, "lone")) == 1
    assert Outbox(app.database).pending(app.clock.now()) == []


def test_paused_follower_gets_its_word_later(desk: Desk) -> None:
    """What succeeds while a follower is paused waits in the outbox for it."""
    desk.template("early")
    desk.api.post("/triggers", follows("asleep", "early"), 201)
    desk.api.post("/triggers/asleep/pause", {})
    succeed(desk, "early")
    until(lambda: _count(desk.api.orch, outbox, outbox.c.error != ""), "one try has failed")
    assert runs_of(desk.api, "asleep") == []
    desk.api.post("/triggers/asleep/resume", {})
    until(lambda: runs_of(desk.api, "asleep"), "it fires", within=20)


def _count(orch: Orch, table: Any, *conditions: Any) -> int:
    with orch.app.database.read() as conn:
        return len(conn.execute(table.select().where(*conditions)).all())
