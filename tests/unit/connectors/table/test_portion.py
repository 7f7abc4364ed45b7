"""Rows that are asked for at once: few of those that are large."""

from __future__ import annotations

import pytest

from connectors.table import portion
from connectors.table.portion import MOST, Portion
from tests.support.jobtable import JobTable
from tests.support.tabledesk import Desk


def test_large_rows_come_few_at_a_time():
    """By how large the last ones were; at least one, and never more than a statement takes."""
    mine = Portion()
    first = mine.most
    mine.came([])
    assert mine.most == first < MOST
    for size, most in ((10, MOST), (2**20, 32), (2**26, 1), (0, MOST)):
        mine.came([(1, None, "x" * size), (2, None, b"y" * size)])
        assert mine.most == most


@pytest.mark.parametrize("mode", ["claim", "follow"])
def test_all_rows_come_all_the_same(
    table: JobTable, desk: Desk, mode: str, monkeypatch: pytest.MonkeyPatch
):
    """In looks without a pause between them."""
    monkeypatch.setattr(portion, "_BYTES", 32 * 1024)
    table.put(["x" * 1024] * 150)
    source = desk.claims() if mode == "claim" else desk.follows()
    counts: list[int] = []
    while found := source.poll(60, 0).messages:
        counts.append(len(found))
        desk.known |= {one.id for one in found}
        if mode == "follow":
            assert source.pause() < 0.1
    assert counts[0] == 60, "nothing is known of them"
    assert 20 < max(counts[1:]) <= 32
    assert sum(counts) == 150
