"""The regulator: rows go evenly at their rate, by a simulated clock, whoever asks."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from connectors.table import pace
from connectors.times import SECOND
from tests.support.jobtable import JobTable
from tests.support.tabledesk import NOW, Desk

WINDOW = 2 * SECOND


def _all_counts(times: list[int]) -> tuple[int, int]:
    """The fewest and the most of some instants in any window of 2 s."""
    begins = range(times[0], times[-1] - WINDOW, SECOND // 100)
    counts = [sum(begin <= at < begin + WINDOW for at in times) for begin in begins]
    return min(counts), max(counts)


@pytest.mark.parametrize("rate", [0.5, 7, 50, 333, 5000])
def test_an_even_rate(rate: float):
    """As many as the rate allows, however long; never more in any time than the rate and what a
    late look may make up for."""
    chance = random.Random(1)
    now, free_at, gone = NOW, 0, list[tuple[int, int]]()
    while now < NOW + 20 * SECOND:
        allowed = pace.allowance(free_at, now, rate)
        if allowed:
            free_at = pace.after(free_at, now, rate, allowed)
            gone.append((now, allowed))
        now = max(pace.due(free_at, now), now) + chance.randrange(30_000)
    total = sum(count for _, count in gone)
    assert total == pytest.approx(20 * rate, rel=0.05, abs=1.5)
    for at, _ in gone:
        inside = sum(count for when, count in gone if at <= when < at + WINDOW)
        slack = pace.SLACK / SECOND
        assert inside <= rate * (WINDOW / SECOND + slack) + 2


def test_a_table_that_was_idle_makes_no_burst():
    """After an hour without rows no more go at once than after a moment."""
    free_at = pace.after(0, NOW, 50, 8)
    assert pace.allowance(free_at, NOW + 3600 * SECOND, 50) <= 50 * pace.SLACK // SECOND + 1
    assert pace.allowance(free_at, NOW, 50) == 0


def test_a_clock_that_was_set_back(table: JobTable, desk: Desk):
    """By an hour: rows go on at once, and not in an hour; so does a rate that was slower before."""
    table.put([str(n) for n in range(20)])
    slow = desk.claims(rows_per_second=0.001)
    assert len(slow.poll(1, 0).messages) == 1
    source = desk.claims("u2", rows_per_second=50)
    assert source.poll(1, 0).messages, "the next of the slow ones was in a quarter of an hour"
    desk.clock.now -= 3600 * SECOND
    again = desk.claims("u3", rows_per_second=50)
    assert len(again.poll(9, 0).messages) == 1
    assert not again.poll(9, 0).messages, "evenly, as before"
    assert pace.begun(NOW + 9 * SECOND, NOW, 50) == NOW + 9 * SECOND, "clocks may differ a little"


@pytest.mark.parametrize("sources", [1, 2])
def test_fifty_rows_a_second(table: JobTable, desk: Desk, sources: int):
    """While 10,000 rows wait: within 10 % of 100 in any window of 2 s, for one source and for two
    that look as often as they can."""
    table.run(
        f"INSERT INTO {table.quoted} (payload) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT '{}' FROM n"
    )
    opened = [desk.claims(f"u{n}", rows_per_second=50) for n in range(sources)]
    chance = random.Random(2)
    times: list[int] = []
    while desk.clock.now < NOW + 12 * SECOND:
        for source in opened:
            times += [desk.clock.now] * len(source.poll(1000, 0).messages)
        desk.clock.now += chance.randrange(1_000, 40_000)
    fewest, most = _all_counts(times)
    assert 90 <= fewest <= most <= 110, (fewest, most)


def test_two_orchestrators_share_a_rate(table: JobTable, tmp_path: Path):
    """Threads of two, each with its own connections, while one clock goes on."""
    table.put([str(n) for n in range(1500)])
    desks = [Desk(table, tmp_path / str(n)) for n in range(2)]
    desks[1].clock = desks[0].clock
    clock, times, lock = desks[0].clock, list[int](), threading.Lock()
    opened = [desk.claims(f"u{n}", rows_per_second=50) for n, desk in enumerate(desks)]
    sources = [*opened, *(desk.claims(f"v{n}", rows_per_second=50) for n, desk in enumerate(desks))]
    turn = threading.Barrier(len(sources) + 1, timeout=60)
    failures: list[Exception] = []

    def read(number: int) -> None:
        try:
            for _ in range(240):
                turn.wait()
                found = sources[number].poll(1000, 0).messages
                with lock:
                    times.extend([clock.now] * len(found))
                turn.wait()
        except Exception as error:
            failures.append(error)
            turn.abort()

    threads = [threading.Thread(target=read, args=(n,)) for n in range(len(sources))]
    for thread in threads:
        thread.start()
    for _ in range(240):  # 12 s in steps of 50 ms: nobody looks while the clock is moved
        turn.wait()
        turn.wait()
        clock.now += 50_000
    for thread in threads:
        thread.join(60)
    for desk in desks:
        desk.close()
    assert not failures
    fewest, most = _all_counts(sorted(times))
    assert 90 <= fewest <= most <= 110, (fewest, most)
