"""Heartbeats over HTTP: whose are taken, what they may hold, and what they change."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

import specs
from orchestrator.domain.roles import Role
from orchestrator.services.serving import heartbeat_key, run_token
from orchestrator.store.schema import copies
from orchestrator.store.seal import load_key
from orchestrator.store.values import Run
from tests.support.inprocess import ACTOR, Orch
from tests.support.services import NAME, service
from tests.support.waiting import until

Send = Callable[..., requests.Response]


@pytest.fixture
def key(orch: Orch, tmp_path: Path) -> bytes:
    return heartbeat_key(load_key(tmp_path / "orch" / "orch.key"))


@pytest.fixture
def run(orch: Orch, tmp_path: Path) -> Run:
    """A life under way whose task says nothing by itself."""
    orch.register(service(tmp_path / "out", "plain", lease="1m", heartbeat="10s", life="2m"))
    first = orch.first_run(NAME)
    return orch.until_run(first.id, lambda run: run.attempts == 1, "is under way")


@pytest.fixture
def send(orch: Orch) -> Send:
    def put(run_id: str, token: str | None, body: Any = None, **headers: str) -> requests.Response:
        sent = {"Content-Type": "application/json", **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body)
        url = f"{orch.app.server.url}/api/v1/runs/{run_id}/heartbeat"
        return requests.put(url, data=data, headers=sent, timeout=10)

    return put


def test_the_runs_own_token_is_taken(orch: Orch, run: Run, key: bytes, send: Send) -> None:
    """The answer says how long it may go on, and gives back the last checkpoint; null is one."""
    token = run_token(key, run.id, 1)
    first = send(run.id, token)
    assert (first.status_code, first.json()) == (200, {"lease": 60.0, "checkpoint": None})
    assert send(run.id, token, {"checkpoint": {"at": 7}, "progress": "a third"}).ok
    assert send(run.id, token, {"progress": 0.5}).json()["checkpoint"] == {"at": 7}
    [copy] = orch.app.copies.all(run.trigger_uid)
    assert (copy.run_id, copy.checkpoint, copy.progress) == (run.id, '{"at":7}', "0.5")
    assert send(run.id, token, {"checkpoint": None}).json()["checkpoint"] is None


def test_no_other_token_is(orch: Orch, run: Run, key: bytes, send: Send) -> None:
    """None, a wrong one, another run's, a later attempt's, an API token: nothing changes."""
    other = run_token(key, "r" + "0" * 24, 1)
    secret = orch.app.tokens.create("admin", Role.ADMIN, None, ACTOR)
    assert send(run.id, None).status_code == 401
    assert send(run.id, "nonsense").status_code == 401
    assert send(run.id, secret).status_code == 401
    assert send(run.id, other).status_code == 403
    assert send(run.id, "1." + "0" * 64).status_code == 403
    assert send(run.id, run_token(key, run.id, 2)).status_code == 410
    assert send("r" + "0" * 24, other).status_code == 503
    assert orch.app.copies.all(run.trigger_uid)[0].heartbeat_at is None
    # It opens this door alone, and needs no token of the API where others do.
    mine = run_token(key, run.id, 1)
    assert send(run.id, mine).status_code == 200
    url = f"{orch.app.server.url}/api/v1/runs/{run.id}"
    headers = {"Authorization": f"Bearer {mine}"}
    assert requests.get(url, headers=headers, timeout=10).status_code == 401
    again = requests.post(f"{url}/heartbeat", json={}, headers=headers, timeout=10)
    assert again.status_code == 401


def test_a_task_that_is_to_end_is_told(orch: Orch, run: Run, key: bytes, send: Send) -> None:
    """Once its run is cancelled, or its attempt is stopped, a heartbeat is answered with 410."""
    token = run_token(key, run.id, 1)
    assert send(run.id, token).ok
    [known] = orch.app.copies.open(run.trigger_uid)
    assert not orch.app.copies.stop(known, "silent", unless_heard_since=0), "it was heard"
    orch.app.commands.cancel(run.id, "enough", ACTOR)
    answer = send(run.id, token, {"checkpoint": "too late"})
    assert answer.status_code == 410
    assert answer.json()["detail"] == "it is to end: enough: leave"
    assert orch.app.copies.all(run.trigger_uid)[0].checkpoint is None


def test_one_execution_of_an_attempt_counts(orch: Orch, run: Run, key: bytes, send: Send) -> None:
    """The cluster may start a job's task again by itself: the one that was heard first stays."""
    token = run_token(key, run.id, 1)
    assert send(run.id, token, {"execution": "e-1"}).ok
    assert send(run.id, token, {"execution": "e-2"}).status_code == 409
    assert send(run.id, token, {"execution": "e-1", "checkpoint": 1}).ok
    assert send(run.id, token).ok, "one that does not say which it is"


def test_a_newer_life_takes_over(orch: Orch, run: Run, key: bytes, send: Send) -> None:
    """From its first heartbeat on the older one is told to leave, in the same moment."""
    token = run_token(key, run.id, 1)
    assert send(run.id, token, {"checkpoint": "old"}).ok
    checker = orch.app.registrar.checker
    text = service(Path("/dev/null"), "plain", lease="1m", heartbeat="10s", life="2m")
    orch.app.registrar.apply(checker.check(checker.parse(specs.load(text)), base_dir=None), ACTOR)
    newer = until(lambda: [r for r in orch.runs(NAME) if r.version == 2], "the new one")[0]
    orch.until_run(newer.id, lambda run: run.attempts == 1, "is under way")
    assert send(run.id, token, {"checkpoint": "older"}).ok, "it works until then"
    answer = send(newer.id, run_token(key, newer.id, 1))
    assert answer.json()["checkpoint"] == "older"
    assert send(run.id, token, {"checkpoint": "too late"}).status_code == 410
    assert orch.run(run.id).cancel == "replaced by version 2"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"checkpoint": "x" * 17_000}, 422),
        ({"progress": "x" * 3_000}, 422),
        ({"execution": "e" * 201}, 422),
        ({"execution": 7}, 422),
        ({"checkpoints": 1}, 422),
        ([], 422),
        (b"{", 422),
        (b'{"checkpoint": NaN}', 422),
        (b'{"checkpoint": "\\u0000"}', 422),
        (b'{"checkpoint": "\\ud800"}', 422),
        (b'{"checkpoint": ' + b"[" * 500 + b"]" * 500 + b"}", 422),
        (b'{"checkpoint": 1, "checkpoint": 2}', 422),
        (b"\xff", 422),
        (b"{" + b" " * (2 * 1024 * 1024) + b"}", 413),
    ],
)
def test_bad_bodies_are_refused(run: Run, key: bytes, send: Send, body: Any, status: int) -> None:
    """With a reason; the task is not told to leave because of one."""
    response = send(run.id, run_token(key, run.id, 1), body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_other_requests_get_no_further(run: Run, key: bytes, send: Send) -> None:
    """A form, a foreign page, a foreign host."""
    token = run_token(key, run.id, 1)
    assert send(run.id, token, **{"Content-Type": "text/plain"}).status_code == 415
    assert send(run.id, token, Origin="http://evil.example").status_code == 403
    assert send(run.id, token, Host="evil.example").status_code == 421


def test_too_many_are_slowed_down(run: Run, key: bytes, send: Send) -> None:
    """A task that says it a hundred times a second is told to wait; it stays alive."""
    token = run_token(key, run.id, 1)
    found = [send(run.id, token) for _ in range(30)]
    assert {answer.status_code for answer in found} == {200, 429}
    assert next(a for a in found if a.status_code == 429).headers["Retry-After"] == "1"


def test_heartbeats_share_commits(orch: Orch, key: bytes, tmp_path: Path, send: Send) -> None:
    """Of many copies at once, each is kept."""
    orch.register(
        service(tmp_path / "out", "plain", copies=8, lease="1m", heartbeat="10s", life="2m")
    )
    uid = orch.app.triggers.get(NAME).uid

    def all_there() -> bool:
        return [r.attempts for r in orch.runs(NAME)] == [1] * 8

    until(all_there, "eight lives", show=lambda: orch.runs(NAME))
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda run: send(run.id, run_token(key, run.id, 1), {"checkpoint": run.key}),
            orch.runs(NAME),
        )
    assert [answer.status_code for answer in answers] == [200] * 8
    with orch.app.database.read() as conn:
        heard = select(func.count()).where(
            copies.c.trigger_uid == uid, copies.c.checkpoint.is_not(None)
        )
        assert conn.scalar(heard) == 8
