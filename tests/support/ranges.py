"""Arithmetic over the ranges of a stream's runs, as the API shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

Runs = Sequence[Mapping[str, Any]]
SUCCEEDED = frozenset({"succeeded"})


def leaves(runs: Runs) -> Runs:
    """All runs but those whose halves run in their place."""
    return [run for run in runs if run["reason"] != "split"]


def ranges_tile(
    runs: Runs, ends: Mapping[str, int], states: Collection[str] = SUCCEEDED
) -> dict[str, list[tuple[int, int]]]:
    """The ranges of each partition lead from 0 to its end without gap or overlap, and their runs
    are in one of the states. Returns them by partition, in order."""
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    wrong: list[Any] = []
    for run in leaves(runs):
        spans[run["partition"]].append((int(run["range"]["start"]), int(run["range"]["end"])))
        if run["state"] not in states:
            wrong.append((run["key"], run["state"], run["reason"]))
    assert not wrong, wrong
    assert spans.keys() == {name for name, end in ends.items() if end}
    for name, mine in spans.items():
        mine.sort()
        assert mine[0][0] == 0, (name, mine[0])
        assert mine[-1][1] == ends[name], (name, mine[-1], ends[name])
        for before, after in pairwise(mine):
            assert before[1] == after[0], f"{name}: {before} is followed by {after}"
    return spans
