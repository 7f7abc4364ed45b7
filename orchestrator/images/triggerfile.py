"""The image that a trigger file names, changed in place: comments and layout stay as they are."""

from __future__ import annotations

import copy
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

import specs
from orchestrator.images import ImageError

_BOM = "\ufeff"
_Key = str | int


@dataclass(frozen=True, kw_only=True)
class TriggerImage:
    """The one `Image:` of a file. `line` counts from 1; `where` is its place in the document."""

    path: Path
    text: str
    document: specs.Document
    where: tuple[_Key, ...]
    image: str
    line: int

    @property
    def place(self) -> str:
        """`report.yaml:19`, for messages."""
        return f"{self.path}:{self.line}"


def read(path: Path) -> TriggerImage:
    """Find the image of a trigger file or a plain job. Raises ImageError, SpecError."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ImageError(f"{path} is no file: name a trigger file")
        with path.open("rb") as opened:
            data = opened.read(specs.MAX_TEXT + 1)
    except OSError as error:
        raise ImageError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    document = specs.load(data, file=str(path))
    found = list(_images(document.data))
    remedy = "write `Image: registry.example.com/team/name` below Engine.Params of the task"
    if not found:
        raise ImageError(f"{path} names no image: {remedy}")
    where, image = found[0]
    line = (document.position(where) or (1, 1))[0]
    if len(found) > 1:
        raise ImageError(f"{path}:{line}: the job has several images: give it one task")
    if "${{" in image:
        raise ImageError(f"{path}:{line}: {image[:60]!r} names no image by itself: {remedy}")
    return TriggerImage(
        path=path, text=data.decode(), document=document, where=where, image=image, line=line
    )


def _images(data: Mapping[str, Any]) -> list[tuple[tuple[_Key, ...], str]]:
    above: tuple[_Key, ...] = () if "Tasks" in data else ("job",)
    job = _mapping(data if not above else data.get("job"))
    tasks: Any = job.get("Tasks")
    found: list[tuple[tuple[_Key, ...], str]] = []
    for number, task in enumerate(cast(list[Any], tasks) if isinstance(tasks, list) else []):
        image = _mapping(_mapping(_mapping(task).get("Engine")).get("Params")).get("Image")
        if isinstance(image, str) and image.strip():
            found.append(((*above, "Tasks", number, "Engine", "Params", "Image"), image.strip()))
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def write(file: TriggerImage, image: str) -> bool:
    """Put another image in; whether the file has changed. Raises ImageError, OSError.

    Nothing is written unless the new text says the same as the old one but for the image.
    """
    if image == file.image:
        return False
    text = _edited(file, image)
    wanted = copy.deepcopy(file.document.data)
    here: Any = wanted
    for key in file.where[:-1]:
        here = here[key]
    here[file.where[-1]] = image
    try:
        same = text is not None and specs.load(text, file=str(file.path)).data == wanted
    except specs.SpecError:
        same = False
    if text is None or not same:
        raise ImageError(
            f"{file.place}: that line cannot be changed without changing more, as with an alias "
            f"or a text of several lines: write `Image: {image}` there by hand"
        )
    _replace(file.path.resolve(), text)
    return True


def _edited(file: TriggerImage, image: str) -> str | None:
    mark = _BOM if file.text.startswith(_BOM) else ""
    text = file.text.removeprefix(_BOM)
    try:
        node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    for key in file.where:
        if isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == key), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
        else:
            return None
    if not isinstance(node, yaml.ScalarNode):
        return None
    start, end = node.start_mark.index, node.end_mark.index
    quote = text[start] if text[start] in "'\"" else ""
    if node.style not in (None, "'", '"') or text[start] in "&!*":
        return None
    return mark + text[:start] + quote + image + quote + text[end:]


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, name)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
