"""Reading: YAML without surprises, JSON, positions, and files that are meant to hurt."""

from __future__ import annotations

import json
import pickle
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import specs
from specs import _yaml

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(string.printable, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def value_of(text: str):
    """What `v: TEXT` is read as."""
    return specs.load(f"v: {text}\n").data["v"]


@pytest.mark.parametrize(
    "text",
    [
        *("on", "off", "yes", "no", "y", "N", "True", "FALSE", "Null", "NULL"),
        *("012", "0o17", "0x1F", "0b11", "1_000", "12:30:45", "+1", "1.", ".5", "1e", "--1"),
        *(".inf", ".nan", "2026-03-29", "2026-03-29T02:30:00Z", "=", "\u0663"),
    ],
)
def test_only_json_values_are_not_text(text):
    """Words and numbers that YAML 1.1 reads as something else stay the text that was written."""
    assert value_of(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("", None),
        ("~", None),
        ("7", 7),
        ("-7", -7),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ('"on"', "on"),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("|\n  a\n  b", "a\nb\n"),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
    ],
)
def test_json_values(text, value):
    """JSON's own values are read as such, and quotes make text."""
    read = value_of(text)
    assert read == value
    assert type(read) is type(value)


def test_keys_stay_text():
    """A key that YAML 1.1 takes for a boolean is text."""
    assert specs.load("on: 1\nyes: 2\n").data == {"on": 1, "yes": 2}


def test_anchors_and_aliases():
    """An alias stands for a copy of what it names."""
    data = specs.load("a: &x {k: [1]}\nb: *x\n").data
    assert data["a"] == data["b"]
    assert data["a"] is not data["b"]


def test_positions():
    """A path gives the line and column of its key or item, or of the nearest part that exists."""
    document = specs.load("a: 1\nb:\n  - c: 2\n  -   d: 3\n")
    assert document.position(("a",)) == (1, 1)
    assert document.position(("b", 0, "c")) == (3, 5)
    assert document.position(("b", 1, "d")) == (4, 7)
    assert document.position(("b", 1, "nothing", "here")) == (4, 7)
    assert document.position(("nothing",)) == (1, 1)
    assert document.position(()) == (1, 1)


def test_json_positions():
    """JSON has positions as well."""
    document = specs.load('{\n  "a": 1,\n  "b": [{"c": 2}]\n}', file="x.json")
    assert document.position(("a",)) == (2, 3)
    assert document.position(("b", 0, "c")) == (3, 10)
    assert document.position(("b", 0, "d")) == (3, 9)


def test_overridden_keys_have_no_position():
    """What the command line replaced does not point into the file."""
    document = specs.load("a: 1\nb: 2\n").override({"a": 3})
    assert document.data == {"a": 3, "b": 2}
    assert document.position(("a",)) is None
    assert document.position(("b",)) == (2, 1)


@given(JSON_VALUES)
def test_json_is_read_as_json_reads_it(value):
    """Any JSON mapping gives what the standard library gives, by either reader."""
    for text in (json.dumps({"v": value}), json.dumps({"v": value}, indent=1, ensure_ascii=False)):
        assert specs.load(text, file="x.json").data == {"v": value}
        assert specs.load(text).data == {"v": value}


@given(JSON_VALUES)
def test_from_data_takes_json(value):
    """Parsed JSON is taken as it is."""
    assert specs.from_data({"v": value}).data == {"v": value}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), b"x", {1: 2}, {"a": {3, 4}}, object()]
)
def test_from_data_refuses_what_is_not_json(value):
    """A value that JSON cannot say is refused with its path."""
    with pytest.raises(specs.SpecError, match="v"):
        specs.from_data({"v": [value]})


def bomb(levels: int) -> str:
    """The billion laughs."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(9), "expand to too much"),
        ("a: " + "[" * 20_000, "levels deep"),
        ("a: " + "{b: " * 20_000, "levels deep"),
        ('{"a": ' + "[" * 20_000, "levels deep"),
        ("- " * 20_000 + "x", "levels deep"),
        ("a: &x [*x, *x]", "refers to itself"),
        ("a: &x {b: *x}", "refers to itself"),
        ("x" * (1024 * 1024 + 1), "bytes, more than"),
        ("ä: " + "ä" * 600_000, "bytes, more than"),
        (b"a: \xff", "byte 4 is not UTF-8"),
        ("a: \x07", "not YAML"),
        ("a: !!python/object/apply:os.system [id]", "tags"),
        ("? {a: b}\n: c", "key must be text"),
        ("%YAML 3.0\n---\na: 1", "not YAML"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_hostile_files(text, words):
    """Files that would cost memory, recursion or safety are refused with a plain reason."""
    with pytest.raises(specs.SpecError) as caught:
        specs.load(text)
    assert words in str(caught.value)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_read_or_refused(text):
    """Nothing but SpecError comes out of reading, whatever goes in."""
    problems = []
    try:
        specs.load(text)
    except specs.SpecError as error:
        problems = error.problems
    assert all(problem.message and problem.remedy for problem in problems)


@pytest.mark.parametrize(
    "text",
    [
        "{" + '"a":[],' * 100_000 + '"b":1}',
        "a: 1\n" * 100_000,
        "a:\n" + " - !x b\n" * 100_000,
    ],
    ids=lambda text: text[:9],
)
def test_many_mistakes(text):
    """A file full of mistakes is left after the first fifty."""
    with pytest.raises(specs.SpecError) as caught:
        specs.load(text)
    assert len(caught.value.problems) == 50


def test_byte_order_mark():
    """A byte order mark, as some editors write it, is no part of the first key."""
    assert specs.load("\ufeffa: 1".encode()).data == {"a": 1}
    assert specs.load("\ufeffa: 1").data == {"a": 1}


@pytest.mark.parametrize(
    "text", ["a: [1, 'x']\nb: &q {c: on}\nd: *q\n", bomb(9), "a: " + "[" * 2000]
)
def test_without_libyaml(text, monkeypatch):
    """The pure Python parser, for platforms without libyaml, reads and refuses the same."""

    def outcome():
        try:
            return specs.load(text).data
        except specs.SpecError as error:
            return str(error)

    assert yaml.__with_libyaml__
    with_libyaml = outcome()
    monkeypatch.setattr(_yaml, "_Loader", _yaml._PurePython)
    assert outcome() == with_libyaml


def test_errors_can_be_pickled():
    """A SpecError survives the way between processes."""
    with pytest.raises(specs.SpecError) as caught:
        specs.load("")
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems
