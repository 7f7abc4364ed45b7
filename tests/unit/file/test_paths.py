"""Which files a pattern means, and the names of their partitions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.file.life import rotated
from connectors.file.paths import Pattern, found, open_file, original, printable
from connectors.file.places import identity, label, name


def _tree(place: Path, *files: str) -> None:
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text("x")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.log", ["a.log"]),
        ("*.log", ["a.log", "b.log"]),
        ("?.log", ["a.log", "b.log"]),
        ("[!a].log", ["b.log"]),
        (".*.log", [".h.log"]),
        ("*/*.log", ["x/c.log"]),
        ("x/y/d.log", ["x/y/d.log"]),
        ("**/*.log", ["a.log", "b.log", "x/c.log", "x/y/d.log"]),
        ("x/**/d.log", ["x/y/d.log"]),
        ("none/*.lo[g]", []),
    ],
)
def test_a_pattern_means(tmp_path: Path, pattern: str, expected: list[str]):
    """As in a shell: hidden names only where they are asked for."""
    _tree(tmp_path, "a.log", "b.log", ".h.log", ".git/e.log", "x/c.log", "x/y/d.log", "a.txt")
    (tmp_path / "none").mkdir()
    walk = Pattern(f"{tmp_path}/{pattern}").walk()
    assert [os.path.relpath(path, tmp_path) for path in walk.files] == expected


def test_links_in_a_circle_end(tmp_path: Path):
    """Also where links are followed."""
    _tree(tmp_path, "x/a.log")
    (tmp_path / "x" / "self").symlink_to(tmp_path / "x")
    walk = Pattern(f"{tmp_path}/**/*.log").walk(symlinks=True)
    assert [Path(path).name for path in walk.files] == ["a.log"]


def test_a_directory_that_has_become_a_link_is_not_entered(tmp_path: Path):
    """Whatever was there when it was looked at: no part below the root may be a link."""
    _tree(tmp_path, "root/sub/a.log", "secret/a.log")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    root = str(tmp_path / "root")
    os.close(open_file(root, ("sub", "a.log"), symlinks=False))
    os.close(open_file(root, ("link", "a.log"), symlinks=True))
    with pytest.raises(OSError, match=r"directory|symbolic"):
        open_file(root, ("link", "a.log"), symlinks=False)


@pytest.mark.timeout(20)
def test_a_fifo_is_never_opened(tmp_path: Path):
    """Opening one would wait for its writer."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        open_file(str(tmp_path), ("fifo",), symlinks=False)


@given(st.binary(min_size=1, max_size=80).filter(lambda raw: b"\0" not in raw))
def test_any_name_can_be_written_down(raw: bytes):
    """Printable, and read back as it was."""
    text = os.fsdecode(raw)
    assert printable(text).isprintable()
    assert original(printable(text)) == text


@given(
    st.lists(
        st.text(
            alphabet=st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
            min_size=1,
            max_size=200,
        ),
        min_size=1,
        max_size=3,
    ),
    st.binary(min_size=1, max_size=2000),
)
def test_a_partition_has_a_name(parts: list[str], head: bytes):
    """At most 200 printable characters, from which comes back what is needed to find it again."""
    info = os.stat_result((0, 2**64 - 1, 2**32, 1, 0, 0, len(head), 0, 0, 0))
    file = found(tuple(parts), "/" + "/".join(parts), info)
    partition = name(file, head)
    assert partition.isprintable()
    assert len(partition) <= 200
    for whole in (partition, f"{partition}~12"):
        mine = identity(whole)
        assert (mine.device, mine.inode, mine.label) == (2**32, 2**64 - 1, label(tuple(parts)))
        assert mine.begins(head[:1024])
        assert mine.born in (tuple(parts), None)


@pytest.mark.parametrize(
    ("path", "yes"),
    [
        ("app.log.1", True),
        ("app.log.12.gz", True),
        ("app.log-20261121", True),
        ("app.log-20261121.zst", True),
        ("app-20261121.log", True),
        ("app.3.log.gz", True),
        ("app_2026-11-21T10.log", True),
        ("app.log.gz", True),
        ("app.log", False),
        ("application.log", False),
        ("other.log.1", False),
    ],
)
def test_what_rotating_makes_of_a_name(path: str, yes: bool):
    """Numbers and dates, behind the name or before its ending, compressed or not."""
    assert rotated((path,), ("app.log",)) is yes
    assert not rotated(("sub", path), ("app.log",))
