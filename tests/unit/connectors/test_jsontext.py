"""JSON from outside: what is taken comes out as it was meant, and nothing else comes out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import jsontext
from connectors.abc import JSON
from connectors.jsontext import MAX_DEPTH, MAX_VALUES, NotJson

# Of what UTF-8 can hold, without the one character that databases cannot.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
documents = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(documents, st.booleans())
def test_documents_come_out_as_they_were_written(document: JSON, ascii_only: bool):
    """In either writing, as bytes or as text."""
    written = json.dumps(document, ensure_ascii=ascii_only)
    assert jsontext.parse(written) == document
    assert jsontext.parse(written.encode()) == document


@given(st.one_of(st.binary(), st.text(), st.text('[]{}",:\\u0d8-+.eE19nulNaIfity ')))
def test_anything_is_a_document_or_refused(content: bytes | str):
    """And what is taken can be written again, for any reader."""
    try:
        document = jsontext.parse(content)
    except NotJson:
        return
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded(pair: tuple[str, str]):
    """The limit itself is taken, with a value within."""
    begin, end = pair
    assert jsontext.parse(begin * MAX_DEPTH + "1" + end * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 10_000, 1_000_000):
        with pytest.raises(NotJson, match="deeper"):
            jsontext.parse(begin * depth + "1" + end * depth)


def test_what_takes_more_memory_than_it_seems_is_refused():
    """Before anything is made of it."""
    with pytest.raises(NotJson, match="values"):
        jsontext.parse("[" + "[]," * (MAX_VALUES // 2) + "[]]")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": {"b": 1, "b": 1}}', "key twice"),
        ('{"a": 1, "\\u0061": 2}', "key twice"),
        ("9" * 101, "digits"),
        ("-" + "9" * 100, "digits"),
        ("1." + "0" * 100, "digits"),
        ("1e400", "too large"),
        ("-1e400", "too large"),
        ("[NaN]", "NaN"),
        ("-Infinity", "Infinity"),
        ('"\\u0000"', "NUL"),
        ('"\\ud83d"', "surrogate"),
        (b"\xc0\x80", "UTF-8"),
        (b"\xff\xfe1\x00", "UTF-8"),
        ("\ufeff1", "no JSON"),
        ("'secret'", "no JSON"),
    ],
)
def test_what_is_refused_is_told_without_its_content(content: bytes | str, words: str):
    """The words may go to whoever sent it, and into a log."""
    with pytest.raises(NotJson, match=words) as caught:
        jsontext.parse(content)
    assert "secret" not in str(caught.value)
