"""Reads YAML and JSON into plain data that knows where each value stands.

The values are those of YAML 1.2's JSON schema: only `true`, `false`, `null` and JSON numbers are
anything but text. So `on`, `yes`, `012`, `1_000`, `12:30` and dates stay what was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from specs._blocks import Blocks
from specs._json import read_json
from specs._problems import Path, Problem, SpecError
from specs._shapes import is_list, is_mapping
from specs._yaml import read_yaml

MAX_TEXT = 1024 * 1024
"""Longest file that is read, in bytes."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Places(Protocol):
    """Finds where in the text a path stands."""

    def __call__(self, path: Path) -> tuple[int, int] | None: ...


def _nowhere(path: Path) -> tuple[int, int] | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Document:
    """A mapping read from a file. `file` is its name in messages."""

    data: dict[str, Any]
    file: str = "<input>"
    places: Places = _nowhere

    def position(self, path: Path) -> tuple[int, int] | None:
        """Return (line, column) from 1 of a path, or of the nearest part of it that exists."""
        return self.places(path)

    def problem(self, path: Path, message: str, remedy: str) -> Problem:
        """Make a problem that points at `path`."""
        line, column = self.places(path) or (None, None)
        return Problem(
            path=path, message=message, remedy=remedy, line=line, column=column, file=self.file
        )

    def override(self, values: Mapping[str, Any]) -> Document:
        """Return the document with top-level keys replaced, as the command line's options do."""
        names = frozenset(values)

        def places(path: Path) -> tuple[int, int] | None:
            return None if path and path[0] in names else self.places(path)

        return replace(self, data={**self.data, **values}, places=places)


def from_data(data: Mapping[str, Any], *, file: str = "<request>") -> Document:
    """Take a mapping that was parsed elsewhere, such as an API body. Raises SpecError."""
    problem = _not_json(data, (), 0)
    if problem is not None:
        path, message = problem
        document = Document(data={}, file=file)
        raise SpecError([document.problem(path, message, "Send plain JSON values")])
    return Document(data=dict(data), file=file)


def load(
    text: str | bytes,
    *,
    file: str = "<input>",
    max_bytes: int = MAX_TEXT,
    blocks: Blocks | None = None,
) -> Document:
    """Read one YAML or JSON document whose top is a mapping. Raises SpecError.

    `blocks` is what the calls for many files share.
    Refused: more than `max_bytes`, several documents, duplicate keys, keys that are not text,
    tags, merge keys, aliases that expand without bound, values that JSON cannot say.
    """
    empty = Document(data={}, file=file)
    if isinstance(text, bytes):
        if len(text) > max_bytes:
            raise _too_large(empty, len(text), max_bytes)
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            message = f"byte {error.start + 1} is not UTF-8"
            raise SpecError([empty.problem((), message, "Save the file as UTF-8")]) from error
    elif len(text) > max_bytes or len(text.encode(errors="replace")) > max_bytes:
        raise _too_large(empty, len(text), max_bytes)
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise SpecError(
            [empty.problem((), "the file is empty", "Start it with apiVersion: orch/v1")]
        )
    read = read_json if file.endswith(".json") or text.lstrip()[0] == "{" else read_yaml
    common = blocks.read(text) if blocks is not None and read is read_yaml else None
    data, places = common or read(text, file)
    if not is_mapping(data):
        found = "a list" if is_list(data) else "a single value"
        document = Document(data={}, file=file, places=places)
        remedy = "Start it with apiVersion: orch/v1 or, for a plain job, with Type: batch"
        raise SpecError([document.problem((), f"the file holds {found}, not a mapping", remedy)])
    return Document(data=dict(data), file=file, places=places)


def _too_large(document: Document, size: int, limit: int) -> SpecError:
    message = f"the file has {size:,} bytes, more than {limit:,}"
    return SpecError([document.problem((), message, "Pass large data as an input source")])


def _not_json(value: Any, path: Path, depth: int) -> tuple[Path, str] | None:
    if depth > 100:
        return path, "nested more than 100 levels deep"
    if is_mapping(value):
        keys: list[object] = list(value)
        for key, item in zip(keys, value.values(), strict=True):
            if not isinstance(key, str):
                return path, f"the key {key!r} is not text"
            found = _not_json(item, (*path, key), depth + 1)
            if found:
                return found
        return None
    if is_list(value):
        for index, item in enumerate(value):
            found = _not_json(item, (*path, index), depth + 1)
            if found:
                return found
        return None
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else (path, "the number does not fit into 64 bits")
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return None
    return path, f"{type(value).__name__} is not a JSON value"
