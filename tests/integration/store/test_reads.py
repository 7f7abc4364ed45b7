"""Lists by keyset, and cursors that are not ours."""

from __future__ import annotations

import base64

import pytest

from orchestrator.domain.states import RunState
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.reads import RunFilter, encode_cursor
from tests.support.clocks import START
from tests.support.ledger import STEP, Ledger


def pages(ledger: Ledger, wanted: RunFilter, limit: int) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = ledger.reads.runs(wanted, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("oldest_first", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 100])
def test_pages_are_the_whole(ledger: Ledger, oldest_first: bool, limit: int) -> None:
    """Every run once, in order, also where several are due in the same instant."""
    for name in "abc":
        ledger.fire(ledger.trigger(name), 2)
    found = pages(ledger, RunFilter(oldest_first=oldest_first), limit)
    expected = [run.id for run in sorted(ledger.runs(), key=lambda run: (run.due_at, run.id))]
    assert found == (expected if oldest_first else expected[::-1])


def test_pages_are_stable_under_inserts(ledger: Ledger) -> None:
    """What comes in meanwhile neither repeats nor hides what was there."""
    trigger = ledger.trigger()
    before = [run.id for run in ledger.fire(trigger, 6)]
    seen: list[str] = []
    cursor = None
    while True:
        page = ledger.reads.runs(RunFilter(), limit=2, cursor=cursor)
        seen += [run.id for run in page.items]
        ledger.fire(trigger, 2)
        cursor = page.next
        if cursor is None:
            break
    assert seen == before[::-1]


def test_filters(ledger: Ledger) -> None:
    """By trigger, state and time; `since` inclusive, `until` exclusive."""
    runs = ledger.fire(ledger.trigger("a"), 3)
    ledger.fire(ledger.trigger("b"), 3)
    ledger.finish(runs[0])
    ledger.finish(runs[1], RunState.DEAD)

    def keys(**wanted: object) -> list[tuple[str, int]]:
        page = ledger.reads.runs(RunFilter(**wanted), limit=100)  # type: ignore[arg-type]
        return sorted((r.trigger_name, (r.due_at - START) // STEP) for r in page.items)

    assert keys(trigger="a") == [("a", 0), ("a", 1), ("a", 2)]
    assert keys(states=[RunState.DEAD]) == [("a", 1)]
    assert keys(states=[RunState.DEAD, RunState.SUCCEEDED]) == [("a", 0), ("a", 1)]
    assert keys(trigger="a", states=[RunState.PENDING]) == [("a", 2)]
    assert keys(since=START + STEP, until=START + 2 * STEP) == [("a", 1), ("b", 1)]
    with pytest.raises(Missing):
        keys(trigger="c")


def test_a_name_used_again_lists_both(ledger: Ledger) -> None:
    """The runs of a deleted trigger are found by its name."""
    ledger.finish(ledger.fire(ledger.trigger())[0])
    ledger.triggers.delete("tick", cancel=False, actor="me")
    ledger.endings.finish_deletions()
    ledger.fire(ledger.trigger())
    assert len(ledger.reads.runs(RunFilter(trigger="tick"), limit=9).items) == 2


STRANGE = [
    "",
    "x",
    "é",
    "[]",
    "🙂",
    encode_cursor(),
    encode_cursor(1),
    encode_cursor("a", "b"),
    encode_cursor(1, 2),
    encode_cursor(1, None),
    encode_cursor(1.5, "r"),
    encode_cursor(True, "r"),
    encode_cursor(10**30, "r"),
    encode_cursor(1, "r\0"),
    encode_cursor(1, "\ud800"),
    encode_cursor([1], {"a": 1}),
    base64.urlsafe_b64encode(b"[" * 5000).decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    base64.urlsafe_b64encode(b"[NaN, NaN]").decode(),
    "A" * 100_000,
]


@pytest.mark.parametrize("cursor", STRANGE, ids=range(len(STRANGE)))
def test_cursors_from_strangers(ledger: Ledger, cursor: str) -> None:
    """Anything but a cursor of this list is refused in words."""
    for ask in (ledger.reads.runs, ledger.reads.triggers, ledger.reads.trail):
        arguments = (RunFilter(),) if ask == ledger.reads.runs else ()
        if cursor == encode_cursor(1) and ask == ledger.reads.trail:
            continue
        with pytest.raises(Conflict, match="not one of ours"):
            ask(*arguments, limit=5, cursor=cursor)  # type: ignore[operator]


def test_triggers_and_trail_by_pages(ledger: Ledger) -> None:
    """The other lists go the same way."""
    for name in "cab":
        ledger.trigger(name)
    first = ledger.reads.triggers(limit=2)
    second = ledger.reads.triggers(limit=2, cursor=first.next)
    assert [t.name for t in [*first.items, *second.items]] == ["a", "b", "c"]
    assert second.next is None
    newest = ledger.reads.trail(limit=2)
    oldest = ledger.reads.trail(limit=2, cursor=newest.next)
    assert [e["subject"] for e in [*newest.items, *oldest.items]] == ["b", "a", "c"]


def test_counts(ledger: Ledger) -> None:
    """Open runs by state and queue, and the dead."""
    runs = ledger.fire(ledger.trigger(), 3)
    ledger.finish(runs[0], RunState.DEAD)
    ledger.accept(ledger.claim(1)[0])
    assert ledger.reads.run_counts() == {"pending": 1, "submitting": 0, "running": 1, "dead": 1}
    assert ledger.reads.queue_counts() == {"line": 0, "delayed": 0, "future": 0, "ready": 1}
    assert ledger.reads.trigger_counts() == {"active": 1}
    uid = runs[0].trigger_uid
    assert ledger.reads.last_runs([uid])[uid].id == runs[2].id
    assert ledger.reads.next_wakes([uid]) == {uid: START + 3 * STEP}
