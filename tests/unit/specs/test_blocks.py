"""Files that have text in common are read as each would be by itself."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import specs
from specs._blocks import Blocks
from specs._yaml import read_yaml

_JOB = "job:\n  Type: batch\n  Tasks:\n    - Name: a\n      Env: {A: '1'}\n"
_FILE = f"# mine\n\napiVersion: orch/v1\nkind: cron\nname: a\n{_JOB}every: 1m\n"

_LINES = st.sampled_from(
    [
        "a: 1",
        "b: text",
        "b: 'quoted",
        'c: "over',
        'lines"',
        "d:",
        "e: |",
        "f: [1,",
        "2]",
        "g: {h: i}",
        "  j: k",
        "  - l",
        "- m",
        "-",
        "# comment",
        "  # comment",
        "",
        "   ",
        "\t",
        "true: 1",
        "n: &anchor 1",
        "o: *anchor",
        "p: !!str 1",
        "---",
        "...",
        "%YAML 1.2",
        "? q",
        "r:s",
        "'t': 1",
        "u: 1\x85v: 2",
        "w: >-",
        "  x",
        "y: 1\r",
        "\ufeffz: 1",
        "<<: {a: 1}",
        "a b: 1",
        "k-1: 1 # why",
    ]
)


@given(st.lists(_LINES, max_size=12).map("\n".join), st.booleans())
@example("a: 1\x85b: 2\nb:\n  j: k", False)
@example("n: &anchor 1\no: *anchor", False)
@example("e: |\n  x\n\n# comment\na: 1", True)
def test_blocks_say_what_the_whole_says(text: str, ends: bool) -> None:
    """Where there is an answer, it is the one of the whole text, places too; twice the same."""
    text += "\n" if ends else ""
    blocks = Blocks()
    for _ in range(2):
        found = blocks.read(text)
        if found is None:
            continue
        data, places = found
        expected, expected_places = read_yaml(text, "f")
        assert data == expected
        assert list(data) == list(expected)
        for key in data:
            assert places((key,)) == expected_places((key,))


def test_equal_lines_are_read_once() -> None:
    """A job below other names is the same value; other jobs are not mixed up with it."""
    blocks = Blocks()
    first = specs.load(_FILE, blocks=blocks)
    second = specs.load(_FILE.replace("name: a", "name: b"), blocks=blocks)
    other = specs.load(_FILE.replace("Type: batch", "Type: ops"), blocks=blocks)
    assert first.data["job"] is second.data["job"]
    assert second.data == {**specs.load(_FILE).data, "name": "b"}
    assert other.data["job"]["Type"] == "ops"


def test_what_is_wrong_keeps_its_line() -> None:
    """Problems of the text and of its values are told with their place in this file."""
    blocks = Blocks()
    specs.load(_FILE, blocks=blocks)
    document = specs.load("\n\n" + _FILE, file="x.yaml", blocks=blocks)
    assert document.position(("job", "Tasks", 0, "Name")) == (11, 7)
    with pytest.raises(specs.SpecError) as caught:
        specs.load(_FILE + "kind: cron\n", file="x.yaml", blocks=blocks)
    assert str(caught.value).startswith("x.yaml:12:1: kind: the key 'kind' stands here twice")


def test_what_is_kept_is_bounded() -> None:
    """Thousands of different jobs, and huge ones, leave no more than a few hundred behind."""
    blocks = Blocks()
    for number in range(1000):
        specs.load(_FILE.replace("Name: a", f"Name: a{number}"), blocks=blocks)
    specs.load(_FILE.replace("Name: a", f"Name: {'a' * 100_000}"), blocks=blocks)
    assert len(blocks._kept) <= 256  # pyright: ignore[reportPrivateUsage]
