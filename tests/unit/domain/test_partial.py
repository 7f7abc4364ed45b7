"""What a task says of events that failed: ranges, or nothing that can be relied on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.partial import BadList, failed_in_file, failed_places


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ('{"orch.failed": [[0, 3], [7, 8]]}\nmore', [(0, 3), (7, 8)]),
        ('\ufeff{"orch.failed":[[0,1]]}', [(0, 1)]),
        ('  { "orch.failed" : [ [1, 2] ] }\r\n', [(1, 2)]),
        ('{"count": 3, "orch.failed": [[1, 2]]}\n', [(1, 2)]),
        ('{"orch.failed": []}\n', []),
        ("", []),
        ("done\n", []),
        ('done\n{"orch.failed": [[0, 1]]}\n', []),
        ('{"other": [[0, 1]]}\n', []),
        ('{"text": "say \\"orch.failed\\""}\n', []),
        ('{"text": {"orch.failed": [[0, 1]]}}\n', []),
    ],
)
def test_the_first_line_names_ranges(stdout: str, expected: list[tuple[int, int]]) -> None:
    """Wherever the key stands in it; other output says nothing."""
    assert list(failed_places(stdout)) == expected


@pytest.mark.parametrize(
    ("stdout", "why"),
    [
        ('{"orch.failed": [[0, 3], [7, 8', "cut off"),
        ('{"orch.failed": [[0, 3], [7, 8]]', "cut off"),
        ('{"orch.failed": [[0, 3]\n', "no JSON"),
        ('{"orch.failed": [[0, 3]]}}\n', "no JSON"),
        ('{"orch.failed": 3}\n', "no list"),
        ('{"orch.failed": {}}\n', "no list"),
        ('{"orch.failed": [3]}\n', "3 among"),
        ('{"orch.failed": [[3, 3]]}\n', "no range"),
        ('{"orch.failed": [[3, 1]]}\n', "no range"),
        ('{"orch.failed": [[-1, 1]]}\n', "no range"),
        ('{"orch.failed": [[0, 1.0]]}\n', "no range"),
        ('{"orch.failed": [[false, true]]}\n', "no range"),
        ('{"orch.failed": [[0, 1, 2]]}\n', "no range"),
        ('{"orch.failed": [[0, 99999999999]]}\n', "no range"),
        ('{"orch.failed": ' + "[" * 5000 + "}\n", "no JSON"),
        ('{"orch.failed": [[0, ' + "9" * 5000 + "]]}\n", "no JSON"),
    ],
)
def test_what_cannot_be_relied_on_is_said(stdout: str, why: str) -> None:
    """A list that was cut off, or says something else than ranges."""
    with pytest.raises(BadList, match=why):
        failed_places(stdout)


@given(
    st.lists(st.integers(0, 10_000), min_size=2, max_size=400, unique=True).map(sorted),
    st.integers(1, 2048),
)
def test_no_list_that_was_cut_off_is_taken_for_whole(places: list[int], kept: int) -> None:
    """Whatever the node keeps of a line: all of its ranges, an error, or not even its key."""
    pairs = list(zip(places[::2], places[1::2], strict=False))
    line = json.dumps({"orch.failed": pairs})
    cut = line[:kept]
    try:
        found = list(failed_places(cut))
    except BadList:
        assert len(cut) < len(line)
        return
    assert found == pairs or len(cut) < len('{"orch.failed"')


def test_a_file_names_them_as_the_line_does() -> None:
    """Over several lines, too; but a file that is there must say something."""
    assert failed_in_file('{\n "orch.failed": [\n[0, 3],\n[7, 8]]\n}\n') == [(0, 3), (7, 8)]
    assert failed_in_file('{"orch.failed": []}') == []


@pytest.mark.parametrize("text", ["", "{}", "[[0, 3]]", "7", '{"orch.failed": [[0, 3]', "[" * 5000])
def test_a_file_without_a_list_is_an_error(text: str) -> None:
    """Nobody can tell what it was to say."""
    with pytest.raises(BadList):
        failed_in_file(text)
