"""Globs: what they stand for, also where keys and globs are odd."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.s3.globs import Glob


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.log", ["a.log", ".log"], ["a/b.log", "a.log.gz", "a.logs"]),
        ("**/*.log", ["a.log", "x/a.log", "x/y/a.log"], ["x/a.log/b"]),
        ("**", ["", "a", "a/b"], []),
        ("a/**", ["a", "a/b", "a/b/c"], ["b/a", "ab"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/zz", "az"]),
        ("a/*/z", ["a/b/z", "a//z"], ["a/z", "a/b/c/z"]),
        ("2026-??-*.csv", ["2026-03-x.csv"], ["2026-3-x.csv"]),
        ("[ab]*", ["a1", "b"], ["c1", ""]),
        ("[!ab]*", ["c"], ["a", ""]),
        ("[0-9a-f]", ["7", "c"], ["g", "-"]),
        ("[]x]", ["]", "x"], ["[", ""]),
        ("[[]1]", ["[1]"], ["1"]),
        ("a.b", ["a.b"], ["axb"]),
        ("*a*b", ["ab", "xaxb", "aab"], ["ba", "a/b"]),
        ("/a", ["a", "/a"], ["b"]),
        ("**/a/**/b", ["a/b", "x/a/y/b", "a/a/b/b"], ["b/a"]),
        ("a/**/*/b", ["a/x/b", "a/x/y/b"], ["a/b"]),
    ],
)
def test_what_a_glob_stands_for(glob: str, matching: list[str], others: list[str]):
    """The whole of a key, and stars stop at slashes."""
    one = Glob(glob)
    assert [key for key in matching if not one.matches(key)] == []
    assert [key for key in others if one.matches(key)] == []


def _naive(glob: str, key: str) -> bool:
    """The meaning of a glob, without regard to time."""

    def parts(globs: list[str], keys: list[str]) -> bool:
        if not globs:
            return not keys
        if globs[0] == "**":
            return any(parts(globs[1:], keys[n:]) for n in range(len(keys) + 1))
        return bool(keys) and one(globs[0], keys[0]) and parts(globs[1:], keys[1:])

    def one(glob: str, key: str) -> bool:
        if not glob:
            return not key
        if glob[0] == "*":
            return any(one(glob[1:], key[n:]) for n in range(len(key) + 1))
        return bool(key) and glob[0] in ("?", key[0]) and one(glob[1:], key[1:])

    return parts(glob.removeprefix("/").split("/"), key.removeprefix("/").split("/"))


_PART = st.one_of(st.just("**"), st.text("ab.*?", max_size=5).map(lambda t: re.sub(r"\*+", "*", t)))


@settings(max_examples=500, deadline=None)
@given(
    st.lists(_PART, min_size=1, max_size=5).map("/".join).filter(bool),
    st.lists(st.text("ab.\n", max_size=4), min_size=1, max_size=6).map("/".join),
)
def test_globs_mean_what_they_mean_by_trying_everything(glob: str, key: str):
    """The fast way and the plain one agree, for any glob and key."""
    assert Glob(glob).matches(key) == _naive(glob, key)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30).map(lambda text: re.sub(r"[*?\[\]]", "x", text)))
def test_a_key_without_special_characters_stands_for_itself(key: str):
    """Whatever else it holds."""
    if key:
        assert Glob(key).matches(key)
        assert not Glob(key).matches(key + "x")


def test_a_glob_made_to_take_long_does_not():
    """Stars over stars and a key that almost fits: done at once, in a part and over parts."""
    assert not Glob("*a" * 300 + "b").matches("a" * 1000)
    assert not Glob("**/a/" * 150 + "b").matches("a/" * 500)
