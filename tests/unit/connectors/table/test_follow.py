"""Following a table that only grows: in order, late rows too, and nothing twice."""

from __future__ import annotations

import random

import pytest

from connectors.streams import SourceChanged, SourceRefused
from connectors.table.cursor import Cursor, Mark, parse
from connectors.table.follow import FollowSource
from connectors.times import MINUTE, SECOND
from tests.support.jobtable import JobTable
from tests.support.tabledesk import Desk, ids


def _read(desk: Desk, source: FollowSource, room: int = 100) -> list[str]:
    """One poll, taken in."""
    found = ids(source.poll(room, 0).messages)
    desk.known |= set(found)
    return found


def _insert(table: JobTable, *keys: int) -> None:
    for key in keys:
        table.run(f"INSERT INTO {table.quoted} (id) VALUES (?)", key)


def test_rows_come_in_order(table: JobTable, desk: Desk):
    """Once each, without anything being written."""
    _insert(table, 5, 3, 9)
    source = desk.follows()
    assert _read(desk, source, 2) == ["3", "5"]
    assert _read(desk, source) == ["9"]
    assert _read(desk, source) == []
    assert table.rows("queued_at", "claimed_by") == [(None, None)] * 3


def test_start_latest(table: JobTable, desk: Desk):
    """Only what comes from now on, also after the source was opened again."""
    _insert(table, 1, 2)
    source = desk.follows(start="latest")
    polled = source.poll(10, 0)
    assert (ids(polled.messages), polled.cursor is not None) == ([], True)
    _insert(table, 3)
    assert _read(desk, desk.follows(polled.cursor, start="latest")) == ["3"]


def test_late_rows_are_found(table: JobTable, desk: Desk):
    """For as long as `look_back` says, and not for ever."""
    _insert(table, 10)
    source = desk.follows(look_back="5m")
    assert _read(desk, source) == ["10"]
    _insert(table, 4)
    desk.clock.now += MINUTE
    assert _read(desk, source) == ["4"]
    desk.clock.now += 3 * MINUTE
    _insert(table, 5)
    desk.clock.now += MINUTE
    assert _read(desk, source) == ["5"]
    for _ in range(3):
        desk.clock.now += 6 * MINUTE
        assert _read(desk, source) == []
    _insert(table, 6)
    desk.clock.now += 6 * MINUTE
    assert _read(desk, source) == []


def test_transactions_of_any_length(table: JobTable, desk: Desk):
    """Keys are given in order, rows become visible in any: each comes once, whatever the room, and
    however often the source is opened again from its cursor."""
    chance = random.Random(3)
    longest = 60
    visible = sorted((key // 4 + chance.randrange(longest - 5), key) for key in range(1, 1200))
    source, cursor, found = desk.follows(look_back="1m"), None, list[str]()
    for second in range(500):
        while visible and visible[0][0] <= second:
            _insert(table, visible.pop(0)[1])
        for _ in range(3):
            polled = source.poll(chance.randrange(1, 40), 0)
            new = ids(polled.messages)
            if chance.random() < 0.03:  # lost on its way
                source = desk.follows(cursor, look_back="1m")
                continue
            found += new
            desk.known |= set(new)
            cursor = polled.cursor or cursor
        desk.clock.now += SECOND
    assert sorted(map(int, found)) == list(range(1, 1200))


def test_a_pass_is_cut_by_the_room(table: JobTable, desk: Desk):
    """What there is no room for comes at the next poll."""
    _insert(table, 100)
    source = desk.follows(look_back="5m")
    _read(desk, source)
    _insert(table, *range(1, 8))
    desk.clock.now += MINUTE
    assert [_read(desk, source, 3) for _ in range(3)] == [
        ["1", "2", "3"],
        ["4", "5", "6"],
        ["7"],
    ]


def test_a_clock_that_was_set_back(table: JobTable, desk: Desk):
    """Late rows are looked for as long as before, and the floor rises again."""
    _insert(table, 10)
    source = desk.follows(look_back="5m")
    _read(desk, source)
    desk.clock.now -= 3600 * SECOND
    _insert(table, 11)
    assert _read(desk, source) == ["11"]
    cursors: list[str] = []
    for _ in range(10):
        desk.clock.now += MINUTE
        cursors += [cursor] if (cursor := source.poll(10, 0).cursor) else []
    found = parse(cursors[-1])
    assert (found.floor, found.top, list(found.marks)) == ("11", "11", [])


def test_a_table_that_was_made_anew(table: JobTable, desk: Desk):
    """Its keys begin again: nothing would ever come, so it is said."""
    _insert(table, 10)
    source = desk.follows(look_back="1m")
    _read(desk, source)
    for _ in range(3):
        desk.clock.now += 2 * MINUTE
        _read(desk, source)
    _insert(table, 11)
    _read(desk, source)
    table.run(f"DELETE FROM {table.quoted}")
    _insert(table, 1)
    desk.clock.now += 2 * MINUTE
    with pytest.raises(SourceChanged, match="made anew"):
        _read(desk, source)


def test_a_cursor_that_nobody_has_written(desk: Desk):
    """It is said, with what to do."""
    for text in ('{"v": 2}', "[]", "x", '{"v":1,"floor":1,"top":null,"marks":[]}'):
        with pytest.raises(SourceRefused, match="--reset"):
            desk.follows(text).poll(1, 0)


def test_a_cursor_is_read_as_it_was_written():
    """Whatever keys are."""
    cursor = Cursor(floor=None, top='"\\u0000"', marks=[Mark(at=1, top="a b"), Mark(at=2, top="")])
    assert parse(str(cursor)) == cursor


def test_marks_are_few():
    """However often a table is looked at."""
    cursor, now = Cursor(), 0
    for step in range(10_000):
        now += SECOND // 10
        cursor = cursor.seen(str(step), now, MINUTE).passed(now, MINUTE)
        assert len(cursor.marks) <= 12
    assert int(cursor.floor or 0) > 9000
