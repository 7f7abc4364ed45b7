"""The image of a trigger file is changed in place, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.images import ImageError, triggerfile
from specs import SpecError

_NEW = "registry.example/team/a:0123456789abcdef"
_FILE = """# above
apiVersion: orch/v1
kind: cron
name: t
every:   5m
job:
  Type: batch
  Tasks:
    - Name: a
      Engine: {{Type: docker, Params: {{{image}, Parameters: [x]}}}} # beside
"""


def _written(path: Path, text: str) -> triggerfile.TriggerImage:
    path.write_bytes(text.encode())
    return triggerfile.read(path)


@pytest.mark.parametrize("quote", ["", '"', "'"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_comments_quotes_and_line_ends_stay(
    tmp_path: Path, quote: str, newline: str, mark: str
) -> None:
    """Every byte but those of the name is as it was, and so is the file's mode."""
    path = tmp_path / "t.yaml"
    text = mark + _FILE.format(image=f"Image: {quote}alpine:3.20{quote}").replace("\n", newline)
    file = _written(path, text)
    path.chmod(0o640)
    assert (file.image, file.line, file.place) == ("alpine:3.20", 10, f"{path}:10")
    assert triggerfile.write(file, _NEW)
    assert path.read_bytes().decode() == text.replace("alpine:3.20", _NEW)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.yaml"]


def test_a_block_with_a_comment_behind_it(tmp_path: Path) -> None:
    """The usual layout, with the image in a line of its own."""
    path = tmp_path / "t.yaml"
    before = "Type: batch\nTasks:\n  - Name: a\n    Engine:\n      Type: docker\n      Params:\n"
    file = _written(path, before + "        Image:   old:1   # why\n        Parameters: [x]\n")
    triggerfile.write(file, _NEW)
    assert (
        path.read_text() == before + f"        Image:   {_NEW}   # why\n        Parameters: [x]\n"
    )


def test_json_is_changed_in_place_too(tmp_path: Path) -> None:
    """A trigger file in JSON keeps its layout."""
    path = tmp_path / "t.json"
    text = (
        '{"apiVersion": "orch/v1", "kind": "cron",\n "name": "t", "every": "5m", "job":'
        ' {"Type": "batch", "Tasks": [{"Name": "a", "Engine":\n {"Type": "docker",'
        ' "Params": {"Image": "old:1"}}}]}}\n'
    )
    triggerfile.write(_written(path, text), _NEW)
    assert path.read_text() == text.replace("old:1", _NEW)


def test_the_same_image_changes_nothing(tmp_path: Path) -> None:
    """Not even the file's time."""
    path = tmp_path / "t.yaml"
    file = _written(path, _FILE.format(image=f"Image: {_NEW}"))
    os.utime(path, (1, 1))
    assert not triggerfile.write(file, _NEW)
    assert path.stat().st_mtime == 1


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is changed."""
    real, link = tmp_path / "real.yaml", tmp_path / "t.yaml"
    real.write_text(_FILE.format(image="Image: old"))
    link.symlink_to(real)
    triggerfile.write(triggerfile.read(link), _NEW)
    assert link.is_symlink()
    assert _NEW in real.read_text()


@pytest.mark.parametrize(
    "image",
    ["Image: *shared, WorkingDirectory: /a", "Image: &x old", "Image: !!str old"],
)
def test_what_cannot_be_changed_alone_is_left(tmp_path: Path, image: str) -> None:
    """An alias, an anchor or a tag: nothing is written, and the line is named."""
    path = tmp_path / "t.yaml"
    text = _FILE.format(image=image).replace("name: t", "name: &shared t")
    file = _written(path, text)
    with pytest.raises(ImageError, match=rf"t\.yaml:10: .*write `Image: {_NEW}` there by hand"):
        triggerfile.write(file, _NEW)
    assert path.read_text() == text


def test_a_text_of_several_lines_is_left(tmp_path: Path) -> None:
    """A block text is no place for a name."""
    path = tmp_path / "t.yaml"
    text = (
        "Type: batch\nTasks:\n  - Name: a\n    Engine:\n      Type: docker\n"
        "      Params:\n        Image: >-\n          old\n"
    )
    file = _written(path, text)
    with pytest.raises(ImageError, match="by hand"):
        triggerfile.write(file, _NEW)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apiVersion: orch/v1\nkind: cron\nname: t\nevery: 5m\n", "names no image"),
        (_FILE.format(image='Image: "${{ service.image }}"'), "names no image by itself"),
        (_FILE.format(image="Image: null"), "names no image"),
        (_FILE.format(image="Image: a") + 2 * "    - {Engine: {Params: {Image: b}}}\n", "several"),
        ("job: [1]\n", "names no image"),
    ],
)
def test_files_without_one_image(tmp_path: Path, text: str, said: str) -> None:
    """None, one that is filled in later, or several: each is told with the file."""
    with pytest.raises(ImageError, match=said):
        _written(tmp_path / "t.yaml", text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Not there, a directory, or not YAML."""
    with pytest.raises(ImageError, match="no such file"):
        triggerfile.read(tmp_path / "none.yaml")
    with pytest.raises(ImageError, match="is no file"):
        triggerfile.read(tmp_path)
    with pytest.raises(SpecError):
        _written(tmp_path / "t.yaml", "a: [")
