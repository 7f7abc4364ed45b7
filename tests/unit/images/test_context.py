"""The hash of what an image is built from, and which files count."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.images import ImageError, context


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A small build context."""
    (tmp_path / "sub").mkdir()
    for name in ("Dockerfile", "a.py", "b.md", "sub/c.py", "t.yaml"):
        (tmp_path / name).write_text(name)
    return tmp_path


def _tag(directory: Path, *, platform: str = "") -> str:
    return context.tag(
        directory, directory / "Dockerfile", platform=platform, without=directory / "t.yaml"
    )


def test_the_tag_is_that_of_the_content(directory: Path, tmp_path_factory: pytest.TempPathFactory):
    """The same files have the same tag, wherever they are and whenever they were written."""
    first = _tag(directory)
    other = tmp_path_factory.mktemp("other") / "deep"
    (other / "sub").mkdir(parents=True)
    for name in ("sub/c.py", "b.md", "a.py", "Dockerfile"):
        (other / name).write_text(name)
    assert _tag(other) == first
    assert len(first) == context.TAG_DIGITS
    assert int(first, 16) >= 0


def test_what_changes_the_tag(directory: Path) -> None:
    """Contents, names, the right to run, links, the Dockerfile, the platform; each differently."""
    found = [_tag(directory), _tag(directory, platform="linux/arm64")]
    for change in (
        lambda: (directory / "a.py").write_text("new"),
        lambda: (directory / "a.py").chmod(0o755),
        lambda: (directory / "a.py").rename(directory / "z.py"),
        lambda: (directory / "link").symlink_to("z.py"),
        lambda: (directory / "dir").symlink_to("sub"),
        lambda: (directory / "Dockerfile").write_text("FROM x"),
    ):
        change()
        found.append(_tag(directory))
    assert len(set(found)) == len(found)


def test_the_trigger_file_does_not_count(directory: Path) -> None:
    """It is changed with each build: its image would never be at hand otherwise."""
    before = _tag(directory)
    (directory / "t.yaml").write_text("Image: a:2")
    assert _tag(directory) == before


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", "a.py b.md sub/c.py t.yaml"),
        ("# *\n\n*.py\n", "b.md sub/c.py t.yaml"),
        ("**/*.py", "b.md t.yaml"),
        ("*\n!a.py", "a.py"),
        ("*\n!sub", "sub/c.py"),
        ("*\n!sub/*.py", "sub/c.py"),
        ("sub\n!sub/c.py", "a.py b.md sub/c.py t.yaml"),
        ("!a.py\n*.py", "b.md sub/c.py t.yaml"),
        ("/sub/", "a.py b.md t.yaml"),
        ("./sub/../a.py", "b.md sub/c.py t.yaml"),
        ("sub/**", "a.py b.md t.yaml"),
        ("[a-b].*", "sub/c.py t.yaml"),
        ("[^a].??", "a.py sub/c.py t.yaml"),
        ("\\a.py", "b.md sub/c.py t.yaml"),
        (".\n..", "a.py b.md sub/c.py t.yaml"),
    ],
)
def test_dockerignore_is_obeyed(directory: Path, text: str, left: str) -> None:
    """As docker reads it: these are what its own client sends for the same files."""
    found = context.rules(text, place="x")
    names = ["a.py", "b.md", "sub/c.py", "t.yaml"]
    assert " ".join(name for name in names if not context.ignored(name, found)) == left


def test_what_is_ignored_is_not_even_looked_into(directory: Path) -> None:
    """Below a directory that is out and stays out nothing is read."""
    (directory / ".dockerignore").write_text("*\n!a.py\n")
    before = _tag(directory)
    (directory / "sub" / "more").mkdir()
    (directory / "sub" / "more" / "x").write_text("x")
    assert _tag(directory) == before
    (directory / "a.py").write_text("changed")
    assert _tag(directory) != before


@pytest.mark.parametrize("line", ["[a", "a\\", "[b-a]"])
def test_a_broken_pattern_is_told_with_its_line(line: str) -> None:
    """Docker refuses them, too."""
    with pytest.raises(ImageError, match=r"ignore:2: .* is no pattern"):
        context.rules(f"# first\n{line}\n", place="ignore")
