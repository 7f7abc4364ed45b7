"""Names of objects, bodies in blocks, small content in a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_client.devnode.inputs import decoded
from connectors.storage.objects import (
    blocks,
    check_name,
    check_prefix,
    check_target,
    inline_source,
    part,
    size_of,
)


@given(st.text(max_size=300))
def test_any_text_makes_a_part(text: str) -> None:
    """Hostile topics too: the part is a plain file name and never hidden, `..` or a wildcard."""
    made = part(text)
    assert check_name(made) == made
    assert "/" not in made
    assert not made.startswith(".")
    assert not made.endswith("*")


@given(st.lists(st.text(max_size=250), unique=True, max_size=8))
def test_distinct_texts_make_distinct_parts(texts: list[str]) -> None:
    """Also those that are shortened."""
    assert len({part(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("logs", "logs"),
        ("a.b_c-1", "a.b_c-1"),
        ("..", "%2E."),
        ("a/../b", "a%2F..%2Fb"),
        ("a~=*", "a%7E%3D%2A"),
        ("ü", "%C3%BC"),
    ],
)
def test_parts(text: str, made: str) -> None:
    """Plain names stay as they are, others are percent-encoded."""
    assert part(text) == made


def test_what_a_hash_shortens_is_no_other_text() -> None:
    """A text that looks like a shortened one does not get its part."""
    long = "x" * 300
    assert part(part(long)) != part(long)


@pytest.mark.parametrize(
    "name",
    [
        *("", "/a", "a/", "a//b", ".", "..", "a/../b", ".hidden", "a/b*", "a b", "a\n", "ä"),
        "x" * 201,
        "/".join(["x" * 100] * 10),
    ],
)
def test_names_that_are_none(name: str) -> None:
    """Nothing climbs, hides, is a pattern, or is longer than stores take."""
    with pytest.raises(ValueError, match="object's name"):
        check_name(name)


def test_prefixes() -> None:
    """A prefix is whole parts, with or without a slash at its end; "" is everything."""
    assert check_prefix("") == ""
    assert check_prefix("a/b/") == "a/b"
    with pytest.raises(ValueError, match="object's name"):
        check_prefix("/etc")


@pytest.mark.parametrize("target", ["/orch/other.ndjson", "orch/batch.ndjson", "batch.ndjson", ""])
def test_targets_that_a_task_could_not_find(target: str) -> None:
    """The file has the name of the object's last part, in an absolute directory."""
    assert check_target("u/1/batch.ndjson", "/orch/batch.ndjson") == "/orch"
    with pytest.raises(ValueError, match="no path that ends in"):
        check_target("u/1/batch.ndjson", target)


@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(1, 30))
def test_blocks(chunks: list[bytes], size: int) -> None:
    """All blocks but the last are of the size that was asked for; together they are the body."""
    made = list(blocks(chunks, size))
    assert b"".join(made) == b"".join(chunks)
    assert all(len(block) == size for block in made[:-1])
    assert all(0 < len(block) <= size for block in made)
    assert size_of(chunks) == sum(map(len, made))


def test_blocks_of_a_file(tmp_path: Path) -> None:
    """The same from a file."""
    file = tmp_path / "x"
    file.write_bytes(b"0123456789")
    assert list(blocks(file, 4)) == [b"0123", b"4567", b"89"]
    assert size_of(file) == 10


@given(st.binary(max_size=100))
def test_inline_sources(content: bytes) -> None:
    """A node finds the bytes; it takes them for no archive, whatever they are."""
    source = inline_source(content, "/orch/batch.ndjson.gz")
    match source:
        case {"Source": {"Type": "inline", "Params": {"URL": str(url)}}, "Target": target}:
            assert target == "/orch/batch.ndjson.gz"
            assert decoded(url) == ("application/octet-stream", content)
        case _:
            pytest.fail(f"no inline source: {source}")
