"""Copies of a service: pauses, numbers, and what a task prints."""

from __future__ import annotations

import pytest

from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.domain.keeping import (
    BadCheckpoint,
    Pause,
    Rest,
    after_life,
    checkpoint_in,
    life_key,
    read_life_key,
    wanted_copies,
    written,
)

PAUSE = Pause(initial=SECOND, max=10 * SECOND, healthy_after=MINUTE)


def rest(failures: int, lived: int, *, well: bool = False, moved: bool = False) -> Rest:
    return after_life(
        PAUSE, failures=failures, lived=lived, well=well, moved=moved, jitter=lambda: 1.0
    )


def test_pauses_double_up_to_the_longest() -> None:
    """However often it has failed."""
    waits = [rest(failures, 0).wait // SECOND for failures in (0, 1, 2, 3, 4, 5, 1000)]
    assert waits == [1, 2, 4, 8, 10, 10, 10]


def test_half_of_a_pause_is_chance() -> None:
    """Copies that fail together do not come back together."""
    shortest = after_life(PAUSE, failures=2, lived=0, well=False, moved=False, jitter=lambda: 0.0)
    assert shortest == Rest(failures=3, wait=2 * SECOND)


def test_a_long_life_counts_no_failures() -> None:
    """Ended well the next begins at once; after an error it is the first one."""
    assert rest(7, MINUTE, well=True) == Rest(failures=0, wait=0)
    assert rest(7, MINUTE) == Rest(failures=1, wait=SECOND)


def test_a_short_life_that_got_on_is_a_good_one() -> None:
    """One that ended well and got nothing done is as bad as a crash."""
    assert rest(7, 0, well=True, moved=True) == Rest(failures=0, wait=SECOND)
    assert rest(1, 0, well=True).failures == 2
    assert rest(1, 0, moved=True).failures == 2


@pytest.mark.parametrize(
    ("value", "copies"), [(0, 0), (0.1, 1), (100, 1), (101, 2), (400, 4), (10**9, 4)]
)
def test_work_asks_for_copies(value: float, copies: int) -> None:
    """From none on; the slightest asks for one."""
    assert wanted_copies(value, 100, 0, 4) == copies
    assert wanted_copies(value, 100, 2, 4) == max(2, copies)


def test_keys_of_lives_are_read_back() -> None:
    """And no others are taken for them."""
    assert read_life_key(life_key("12", 345)) == ("12", 345)
    for key in ("logs/0/1-2", "copy-1", "copy-/1", "copy-a/1", "copy-1/2/3", "copy-1/-2", "x"):
        assert read_life_key(key) is None


@pytest.mark.parametrize(
    ("stdout", "checkpoint"),
    [
        ('{"orch.checkpoint": {"at": 7}}\nmore', '{"at":7}'),
        ('\ufeff{"orch.checkpoint": null}', "null"),
        ('{"said": "orch.checkpoint"}\n', None),
        ('{"said": "\\"orch.checkpoint\\""}\n', None),
        ("hello\n", None),
        ("", None),
        ('first\n{"orch.checkpoint": 1}\n', None),
    ],
)
def test_the_first_line_may_name_a_checkpoint(stdout: str, checkpoint: str | None) -> None:
    """And only the first."""
    assert checkpoint_in(stdout) == checkpoint


@pytest.mark.parametrize(
    "stdout",
    [
        '{"orch.checkpoint": [1, 2',
        '{"orch.checkpoint": nope}\n',
        '{"orch.checkpoint": "' + "[" * 20_000 + '"}\n',
        '{"orch.checkpoint": NaN}\n',
        '{"orch.checkpoint": "\\u0000"}\n',
        '{"orch.checkpoint": "\\ud800"}\n',
    ],
)
def test_half_a_checkpoint_is_none(stdout: str) -> None:
    """What was cut off, is no JSON or cannot be kept says so."""
    with pytest.raises(BadCheckpoint):
        checkpoint_in(stdout)


def test_a_checkpoint_has_a_limit() -> None:
    """16 KiB of JSON; deep nesting ends no daemon."""
    assert written("x" * 16_000)
    with pytest.raises(BadCheckpoint, match="at most"):
        written("x" * 17_000)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadCheckpoint):
        written(deep)
