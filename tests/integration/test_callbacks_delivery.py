"""Callbacks from the outbox to their receivers, at least once."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app import App
from orchestrator.config import Config
from orchestrator.domain.clock import DAY, HOUR, MINUTE, SECOND
from orchestrator.services.callbacks import backoff, delivery_id
from orchestrator.store.outbox import Callback, put
from orchestrator.store.schema import outbox
from orchestrator.store.writer import Tx
from tests.support.api import JOB, Api
from tests.support.inprocess import Orch, ShiftedClock
from tests.support.waiting import until


@dataclass
class Hook:
    """A receiver that answers with the statuses it is told, then with 204."""

    url: str = ""
    statuses: list[int] = field(default_factory=list[int])
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list[Any])


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.seen.append((dict(self.headers), body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/secret-path"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def orch(tmp_path: Path, clock: ShiftedClock) -> Iterator[Orch]:
    with Orch.build(
        tmp_path / "data", "http://127.0.0.1:9", clock=clock, allow_private_callbacks=True
    ) as built:
        yield built


def tell(app: App, target: dict[str, str], **payload: Any) -> None:
    """Write a callback as an ending does."""
    callback = Callback(event="on_success", target=target, payload={"run": "r1", **payload})

    def operation(tx: Tx) -> None:
        put(tx, "r1", [callback], app.clock.now())

    app.database.write(operation, "test")


def rows(app: App) -> list[dict[str, Any]]:
    with app.database.read() as conn:
        return [dict(row) for row in conn.execute(outbox.select()).mappings()]


def settled(app: App, tries: int) -> list[dict[str, Any]]:
    """The outbox, once its only row has been tried so often and nothing is under way."""

    def look() -> list[dict[str, Any]] | None:
        found = rows(app)
        return found if found[0]["tries"] == tries else None

    return until(look, f"{tries} tries", show=lambda: rows(app))


def test_a_callback_is_signed(orch: Orch, hook: Hook) -> None:
    """The receiver can check who sent it, from the headers and the body as it came."""
    tell(orch.app, {"url": hook.url}, state="succeeded")
    orch.app.callbacks.run_once()
    (row,) = settled(orch.app, 1)
    assert row["done_at"] is not None
    assert row["error"] == ""
    ((headers, body),) = hook.seen
    assert json.loads(body) == {"run": "r1", "state": "succeeded"}
    assert headers["Content-Type"] == "application/json"
    assert headers["Orch-Event"] == "on_success"
    assert len(headers["Orch-Delivery"]) == 32
    key = orch.app._web().callback_key  # pyright: ignore[reportPrivateUsage]
    signed = headers["Orch-Timestamp"].encode() + b"." + body
    expected = "v1=" + hmac.new(key, signed, hashlib.sha256).hexdigest()
    assert headers["Orch-Signature"] == expected
    assert abs(int(headers["Orch-Timestamp"]) * SECOND - orch.app.clock.now()) < HOUR


def test_a_delivered_callback_is_not_sent_again(orch: Orch, hook: Hook) -> None:
    """Another round finds nothing to do."""
    tell(orch.app, {"url": hook.url})
    orch.app.callbacks.run_once()
    settled(orch.app, 1)
    assert orch.app.callbacks.run_once() is None
    assert len(hook.seen) == 1


def test_failures_are_tried_again_with_the_same_id(
    orch: Orch, hook: Hook, clock: ShiftedClock
) -> None:
    """500 and 404 are not the end; the delivery's id stays, the time and signature do not."""
    hook.statuses = [500, 404]
    tell(orch.app, {"url": hook.url})
    for tries in (1, 2, 3):
        orch.app.callbacks.run_once()
        (row,) = settled(orch.app, tries)
        assert (row["done_at"] is not None) is (tries == 3)
        clock.step(MINUTE)
    assert hook.statuses == []
    assert len(hook.seen) == 3
    assert len({headers["Orch-Delivery"] for headers, _ in hook.seen}) == 1
    assert len({headers["Orch-Signature"] for headers, _ in hook.seen}) == 3


def test_what_waits_is_not_tried_early(orch: Orch, hook: Hook) -> None:
    """The service sleeps until the next try is due."""
    hook.statuses = [500]
    tell(orch.app, {"url": hook.url})
    orch.app.callbacks.run_once()
    (row,) = settled(orch.app, 1)
    assert row["error"] == "answered 500"
    wake_at = orch.app.callbacks.run_once()
    assert wake_at is None or wake_at == row["next_at"]
    assert len(hook.seen) == 1


def test_after_a_day_it_is_given_up(orch: Orch, hook: Hook, clock: ShiftedClock) -> None:
    """The error stays with it, and no more is sent."""
    hook.statuses = [500, 500]
    tell(orch.app, {"url": hook.url})
    orch.app.callbacks.run_once()
    settled(orch.app, 1)
    clock.step(DAY)
    orch.app.callbacks.run_once()
    (row,) = settled(orch.app, 2)
    assert row["done_at"] is not None
    assert row["error"] == "answered 500"
    clock.step(DAY)
    assert orch.app.callbacks.run_once() is None
    assert len(hook.seen) == 2


def test_private_receivers_need_a_setting(tmp_path: Path, hook: Hook) -> None:
    """By default nothing on this machine is called, and that is told at once."""
    with Orch.build(tmp_path / "data", "http://127.0.0.1:9") as orch:
        tell(orch.app, {"url": hook.url})
        orch.app.callbacks.run_once()
        (row,) = settled(orch.app, 1)
    assert row["done_at"] is not None
    assert "allow_private_callbacks" in row["error"]
    assert hook.seen == []


def test_one_silent_receiver_does_not_hold_up_others(orch: Orch, hook: Hook) -> None:
    """However many callbacks wait for one that never answers, the others are told."""
    listener = http.server.HTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    )  # accepts, and never answers
    silent = f"http://127.0.0.1:{listener.server_port}/"
    try:
        for number in range(40):
            tell(orch.app, {"url": silent}, number=number)
        tell(orch.app, {"url": hook.url})
        orch.app.callbacks.run_once()
        until(lambda: hook.seen, "the other receiver told")
    finally:
        listener.server_close()


def test_two_orchestrators_do_not_both_deliver(orch: Orch, hook: Hook) -> None:
    """Whoever has claimed a callback delivers it; the other finds nothing."""
    tell(orch.app, {"url": hook.url})
    store = orch.app.callbacks._outbox  # pyright: ignore[reportPrivateUsage]
    now = orch.app.clock.now()
    pending = store.pending(now)
    assert len(store.claim(pending, now + MINUTE)) == 1
    assert store.claim(pending, now + MINUTE) == []
    assert store.pending(now) == []
    assert len(store.pending(now + MINUTE)) == 1


def test_backoff_grows_and_is_bounded() -> None:
    """From half a second to an hour."""
    assert backoff(0, 0) == SECOND // 2
    assert backoff(3, 0) == 4 * SECOND
    assert backoff(3, 0.999) < 8 * SECOND
    assert backoff(60, 0.999) <= HOUR


def test_another_triggers_job_is_fired_once(orch: Orch, clock: ShiftedClock) -> None:
    """`{trigger: name}` makes one run of that trigger, also when it is told twice."""
    orch.app.server.bind()
    orch.app.server.start(orch.app._web())  # pyright: ignore[reportPrivateUsage]
    api = Api(orch)
    api.register("next", job=JOB)
    tell(orch.app, {"trigger": "next"})
    store = orch.app.callbacks._outbox  # pyright: ignore[reportPrivateUsage]
    (pending,) = store.pending(clock.now())
    orch.app.callbacks.run_once()
    settled(orch.app, 1)
    chain = orch.app.callbacks._chain  # pyright: ignore[reportPrivateUsage]
    chain.fire(pending, delivery_id(orch.app.database.instance, pending))
    (run,) = api.get("/runs", trigger="next")["items"]
    assert run["key"].startswith("callback-r1-on_success-")
    assert run["origin"] == "manual"
    api.session.close()


def test_a_trigger_that_is_gone_is_given_up(orch: Orch) -> None:
    """Nobody will ever be there to be told."""
    tell(orch.app, {"trigger": "gone"})
    orch.app.callbacks.run_once()
    (row,) = settled(orch.app, 1)
    assert row["done_at"] is not None
    assert "no trigger 'gone'" in row["error"]


_CHILD = textwrap.dedent(
    """
    import sys, threading
    from orchestrator.app import App
    from orchestrator.config import Config
    app = App(Config(data_dir=sys.argv[1], bacalhau="http://127.0.0.1:9",
                     allow_private_callbacks=True))
    app.callbacks.start()
    threading.Event().wait(60)
    """
)


def test_killed_between_delivery_and_mark_it_is_delivered_again(
    tmp_path: Path, hook: Hook, clock: ShiftedClock
) -> None:
    """At least once, with the same id: the receiver can tell that it is the same."""
    data = tmp_path / "data"
    with Orch.build(data, "http://127.0.0.1:9", allow_private_callbacks=True) as orch:
        tell(orch.app, {"url": hook.url})
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "ORCH_FAILPOINTS": "callback.delivered=1",
        "PYTHONPATH": str(root),
    }
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(data)], env=environment, timeout=120, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert len(hook.seen) == 1
    clock.step(2 * MINUTE)
    with Orch.build(data, "http://127.0.0.1:9", clock=clock, allow_private_callbacks=True) as orch:
        orch.app.callbacks.run_once()
        settled(orch.app, 1)
    assert len(hook.seen) == 2
    assert len({headers["Orch-Delivery"] for headers, _ in hook.seen}) == 1


def test_the_key_is_the_stores_own(tmp_path: Path) -> None:
    """It is derived from the key file: the same after a restart, another in another store."""
    keys: list[bytes] = []
    for name in ("one", "one", "two"):
        app = App(Config(data_dir=tmp_path / name, bacalhau="http://127.0.0.1:9"))
        keys.append(app._web().callback_key)  # pyright: ignore[reportPrivateUsage]
        app.stop()
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    assert (tmp_path / "one" / "orch.key").read_bytes() not in keys
