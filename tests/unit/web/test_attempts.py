"""Wrong tokens: how many, by whom, and who is let through all the same."""

from __future__ import annotations

import pytest

from orchestrator.web import attempts
from orchestrator.web.attempts import BURST, EVERY, Attempts


class _Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def tried(clock: _Clock) -> Attempts:
    """One address has tried as often as it may."""
    made = Attempts(clock.monotonic)
    for _ in range(BURST):
        assert made.wait("10.0.0.1", "x") == 0
        made.wrong("10.0.0.1")
    return made


def test_then_it_waits(tried: Attempts, clock: _Clock) -> None:
    """One more after a while, and no more than at first after a long one."""
    assert tried.wait("10.0.0.1", "x") == pytest.approx(EVERY)
    clock.now += EVERY
    assert tried.wait("10.0.0.1", "x") == 0
    tried.wrong("10.0.0.1")
    assert tried.wait("10.0.0.1", "x") > 0
    clock.now += 1000 * EVERY
    for _ in range(BURST):
        assert tried.wait("10.0.0.1", "x") == 0
        tried.wrong("10.0.0.1")
    assert tried.wait("10.0.0.1", "x") > 0


def test_others_do_not_wait(tried: Attempts) -> None:
    """Another address, and a token that was right lately from the same one."""
    assert tried.wait("10.0.0.2", "x") == 0
    tried.right("mine")
    assert tried.wait("10.0.0.1", "mine") == 0
    assert tried.wait("10.0.0.1", "x") > 0


def test_a_network_of_ipv6_is_one(clock: _Clock) -> None:
    """Its holder has as many addresses as they like."""
    made = Attempts(clock.monotonic)
    for number in range(BURST):
        made.wrong(f"2001:db8::{number:x}")
    assert made.wait("2001:db8::ffff", "x") > 0
    assert made.wait("2001:db8:0:1::1", "x") == 0


def test_what_is_remembered_is_bounded(tried: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses and tokens come by."""
    monkeypatch.setattr(attempts, "_ADDRESSES", 5)
    monkeypatch.setattr(attempts, "_RIGHT", 5)
    for number in range(20):
        tried.wrong(f"10.1.0.{number}")
        tried.right(str(number))
    assert len(tried._left) <= 6
    assert len(tried._right) <= 6
    assert tried.wait("no address", "x") == 0
