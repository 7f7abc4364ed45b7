"""What `orch simulate` is told about a window."""

from __future__ import annotations

import pytest

from connectors.abc import Overlap
from connectors.cron import CronConnector
from connectors.simulation import SimulatedFiring, simulate
from connectors.times import instant, jitter_offset

SECOND = 1_000_000
MINUTE = 60 * SECOND


def run(
    settings: dict[str, str],
    start: str,
    end: str,
    *,
    overlap: Overlap = "skip",
    duration: int = 0,
    seed: str = "",
) -> list[SimulatedFiring]:
    schedule = CronConnector().schedule(settings)
    return list(
        simulate(
            schedule,
            instant(start),
            instant(end),
            overlap=overlap,
            duration=duration,
            jitter_seed=seed,
        )
    )


def test_a_clock_change_is_shown() -> None:
    """Local time, offset and note of each firing around the spring change."""
    settings = {"schedule": "30 2 * * *", "timezone": "Europe/Berlin"}
    found = run(settings, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z")
    assert [(f.key, f.local, f.utc_offset, f.notes) for f in found] == [
        ("2026-03-28T01:30:00Z", "2026-03-28 02:30:00", "+01:00", ()),
        (
            "2026-03-29T01:00:00Z",
            "2026-03-29 03:00:00",
            "+02:00",
            ("moved from 02:30: the clocks skip it",),
        ),
        ("2026-03-30T00:30:00Z", "2026-03-30 02:30:00", "+02:00", ()),
    ]


def test_west_of_greenwich_and_odd_offsets() -> None:
    """Offsets are shown as people write them."""
    settings = {"schedule": "@daily", "timezone": "America/St_Johns"}
    (first,) = run(settings, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert first.utc_offset == "-03:30"


def test_jitter_moves_the_firing_and_not_the_key() -> None:
    """`fires` is late by the trigger's own offset, `due` is nominal."""
    settings = {"schedule": "@hourly", "jitter": "5m"}
    found = run(settings, "2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z", seed="k3j2")
    assert {f.fires - f.due for f in found} == {jitter_offset("k3j2", 5 * MINUTE)}
    assert [f.key for f in found] == ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"]


@pytest.mark.parametrize(
    ("overlap", "starts", "overlaps"),
    [
        ("allow", [0, 1, 2, 3, 4], [False, True, True, True, True]),
        ("replace", [0, 1, 2, 3, 4], [False, True, True, True, True]),
        ("skip", [0, None, None, 3, None], [False, True, True, False, True]),
        ("queue", [0, 2.5, 5, 7.5, 10], [False, True, True, True, True]),
        ("queue_one", [0, 2.5, None, 5, None], [False, True, True, True, True]),
    ],
)
def test_overlaps_follow_the_policy(
    overlap: Overlap, starts: list[float | None], overlaps: list[bool]
) -> None:
    """Runs of two and a half minutes, every minute, under each policy."""
    found = run(
        {"every": "1m"},
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:05:00Z",
        overlap=overlap,
        duration=150 * SECOND,
    )
    first = found[0].due
    assert [None if f.starts is None else (f.starts - first) / MINUTE for f in found] == starts
    assert [f.overlaps for f in found] == overlaps
    assert [bool(f.notes) for f in found] == overlaps


def test_runs_that_end_as_the_next_begins_do_not_overlap() -> None:
    """A run exactly as long as the interval is no overlap."""
    window = ("2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z")
    assert not any(f.overlaps for f in run({"every": "1m"}, *window, duration=MINUTE))


def test_an_autumn_night_overlaps_where_the_hour_repeats() -> None:
    """Skipped runs and clock notes stand side by side."""
    settings = {"schedule": "30 * * * *", "timezone": "Europe/Berlin"}
    found = run(settings, "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", duration=90 * MINUTE)
    assert [f.notes for f in found] == [
        ("the first 02:30",),
        ("the second 02:30", "skipped: the run before is still going"),
    ]


def test_simulation_is_lazy() -> None:
    """A long window costs only what is read of it."""
    schedule = CronConnector().schedule({"every": "100ms"})
    firings = simulate(schedule, 0, instant("8000-01-01T00:00:00Z"))
    assert next(firings).due == 0
    assert next(firings).due == 100_000
