"""Where the run of an ended attempt goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

import specs
from orchestrator.domain.clock import HOUR, SECOND
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.services.completer import Completer, decide
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.store import endings as store_endings
from orchestrator.store.endings import Settlement
from orchestrator.store.values import Run
from tests.support.desk import Desk
from tests.support.ledger import define


def decided(
    desk: Desk, definition: Definition | None = None, *, cancel: str = "", **ending: Any
) -> Settlement:
    """Let one attempt end, and decide."""
    [run] = desk.ledger.fire(desk.ledger.trigger())
    [flight] = desk.ledger.claim()
    flight = desk.ledger.accept(flight)
    if cancel:
        desk.ledger.commands.cancel(run.id, cancel, "me")
    desk.ledger.end(flight, **ending)
    [unsettled] = desk.ledger.endings.unsettled(10)
    return decide(unsettled, definition or define(), desk.clock.now(), lambda: 0.5)


FAILED: Any = {"state": AttemptState.FAILED, "reason": "exit 3", "exit_code": 3}


def test_success(desk: Desk) -> None:
    """The run has succeeded, and the try counts."""
    settlement = decided(desk)
    assert (settlement.state, settlement.reason, settlement.tries) == (RunState.SUCCEEDED, "", 1)


def test_success_beats_a_cancel(desk: Desk) -> None:
    """What is done is done."""
    assert decided(desk, cancel="enough").state is RunState.SUCCEEDED


def test_a_failure_is_tried_again(desk: Desk) -> None:
    """After the backoff, with the reason shown meanwhile."""
    settlement = decided(desk, **FAILED)
    assert (settlement.state, settlement.reason) == (RunState.PENDING, "exit 3")
    assert settlement.not_before == desk.clock.now() + SECOND // 2
    assert settlement.callbacks == ()


def test_the_last_attempt(desk: Desk) -> None:
    """The run is dead, with the attempt's reason and the count."""
    policies = define(retry=specs.Retry(max_attempts=1))
    settlement = decided(desk, policies, **FAILED)
    assert (settlement.state, settlement.reason) == (
        RunState.DEAD,
        "exit 3 (after 1 of 1 attempts)",
    )


def test_what_is_wrong(desk: Desk) -> None:
    """Not tried again, with the node's words alone."""
    settlement = decided(desk, **(FAILED | {"retryable": False, "reason": "refused"}))
    assert (settlement.state, settlement.reason) == (RunState.DEAD, "refused")


def test_an_attempt_that_does_not_count(desk: Desk) -> None:
    """Tried again with as many attempts left as before."""
    policies = define(retry=specs.Retry(max_attempts=1))
    settlement = decided(desk, policies, **(FAILED | {"counted": False}))
    assert (settlement.state, settlement.tries) == (RunState.PENDING, 0)
    assert settlement.not_before == desk.clock.now() + 5 * SECOND


def test_a_hold(desk: Desk) -> None:
    """The next attempt waits for the old task's end."""
    hold = desk.clock.now() + HOUR
    assert decided(desk, **(FAILED | {"hold_until": hold})).not_before == hold


@pytest.mark.parametrize("state", [AttemptState.FAILED, AttemptState.STOPPED])
def test_a_cancelled_run(desk: Desk, state: AttemptState) -> None:
    """It ends, whatever its attempt did but succeed."""
    settlement = decided(desk, cancel="enough", state=state)
    assert (settlement.state, settlement.reason) == (RunState.CANCELLED, "enough")


@pytest.mark.parametrize(
    ("event", "ending"),
    [
        ("on_success", {}),
        ("on_failure", FAILED | {"retryable": False}),
        ("on_abort", FAILED | {"cancel": "enough"}),
    ],
)
def test_callbacks(desk: Desk, event: str, ending: dict[str, Any]) -> None:
    """Each end has its own, with what a receiver needs to know."""
    targets: Any = {
        name: (specs.Callback(url=f"https://example.com/{name}"),)
        for name in ("on_success", "on_failure", "on_abort")
    }
    settlement = decided(desk, define(**targets), **ending)
    [callback] = settlement.callbacks
    assert callback.event == event
    assert callback.target == {"url": f"https://example.com/{event}"}
    assert callback.payload["run"] == settlement.unsettled.run.id
    assert callback.payload["state"] == settlement.state
    assert callback.payload["attempts"] == 1


def test_the_service_settles_everything(desk: Desk) -> None:
    """More than a batch, waiting runs that nobody wants any more, and deletions."""
    trigger = desk.ledger.trigger(definition=define(retry=specs.Retry(max_attempts=1)))
    runs = desk.ledger.fire(trigger, 5)
    for flight in desk.ledger.claim(3):
        desk.ledger.end(desk.ledger.accept(flight))
    desk.ledger.commands.cancel(runs[4].id, "enough", "me")
    desk.ledger.triggers.delete("tick", cancel=True, actor="me")
    completer = Completer(
        desk.clock, desk.signals, desk.ledger.endings, Definitions(desk.ledger.triggers)
    )
    completer.run_once()
    states = [run.state for run in desk.ledger.runs()]
    assert states == [RunState.SUCCEEDED] * 3 + [RunState.CANCELLED] * 2
    assert desk.ledger.scalar("SELECT state FROM triggers") == "deleted"


QUEUE = replace(define(), queue=True)


def completed(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    stdout: str,
    *,
    back: bool,
    failed: Sequence[tuple[int, int]] = (),
) -> Run:
    """Let a run of a source without order end with this output, and its task succeed. `failed` is
    what stood in its result."""
    ledger = desk.ledger
    [run] = ledger.fire(ledger.trigger(definition=QUEUE))
    [flight] = ledger.claim()
    ledger.end(ledger.accept(flight), stdout=stdout, failed=failed)
    monkeypatch.setattr(ledger.endings, "can_go_back", lambda _run, _failed: back)
    monkeypatch.setattr(store_endings, "can_go_back", lambda _conn, _run, _failed: back)
    Completer(desk.clock, desk.signals, ledger.endings, Definitions(ledger.triggers)).run_once()
    return ledger.run(run)


def test_events_that_failed_go_back_or_keep_their_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose task names events that its source does not take back is dead, and not let go."""
    said = '{"orch.failed": [[0, 1]]}\n'
    assert completed(desk, monkeypatch, said, back=True).state is RunState.SUCCEEDED


def test_what_a_result_names_counts_like_the_output(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both together, where there are both."""
    settled: list[Settlement] = []
    settle = desk.ledger.endings.settle
    monkeypatch.setattr(desk.ledger.endings, "settle", lambda s: (settled.extend(s), settle(s))[1])
    said = '{"orch.failed": [[0, 1]]}\n'
    assert completed(desk, monkeypatch, said, back=True, failed=[(4, 6)]).ended_at is not None
    [verdict] = [settlement.verdict for settlement in settled]
    assert verdict is not None
    assert verdict.failed == [(0, 1), (4, 6)]


@pytest.mark.parametrize(
    ("stdout", "why"),
    [('{"orch.failed": [[0, 1]]}\n', "cannot go back"), ('{"orch.failed": [[0, 1', "cut off")],
)
def test_events_that_cannot_go_back_are_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, stdout: str, why: str
) -> None:
    """With the reason, and for a person to decide; also what only now turns out to be no list."""
    run = completed(desk, monkeypatch, stdout, back=False)
    assert (run.state, run.released) == (RunState.DEAD, False)
    assert why in run.reason
