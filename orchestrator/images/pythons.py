"""What a Python script says of itself: inline metadata (PEP 723), versions, imports of neighbours.

The script is read, never run.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from orchestrator.images import ImageError

_IMAGE = "python:3.{}-slim"
_MINORS = (13, 14, 12, 11, 10, 9)
"""Versions 3.x that there are images of, the one that is taken without a reason first."""

_NEWEST_PATCH = 99  # an image of 3.x is that of its newest patch release
_MOST_FILES = 500
_BEGIN = re.compile(r"# /// (?P<kind>[A-Za-z0-9-]+)\s*")
_END = re.compile(r"# ///\s*")
_CLAUSE = re.compile(
    r"(?P<op>~=|==|!=|<=|>=|<|>)\s*(?P<version>\d+(?:\.\d+){0,2})(?P<any>\.\*)?", re.ASCII
)
_LONGEST = 300  # characters of a requirement


@dataclass(frozen=True, kw_only=True)
class Inline:
    """The `script` block of a script; empty without one."""

    dependencies: tuple[str, ...] = ()
    requires_python: str = ""


def inline_metadata(source: str, *, place: str) -> Inline:
    """Read the block between `# /// script` and `# ///`. Raises ImageError."""
    blocks = list(_blocks(source.splitlines(), place))
    if not blocks:
        return Inline()
    line, text = blocks[0]
    if len(blocks) > 1:
        raise ImageError(f"{place}:{blocks[1][0]}: a second `# /// script`: write one of them")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ImageError(f"{place}:{line}: the block is not TOML: {error}") from error
    packages: Any = found.get("dependencies", [])
    version: Any = found.get("requires-python", "")
    if not isinstance(packages, list) or not isinstance(version, str):
        remedy = 'write dependencies = ["requests>=2"] and requires-python = ">=3.11"'
        raise ImageError(f"{place}:{line}: {remedy}")
    for package in cast(list[Any], packages):
        if not _is_requirement(package):
            remedy = 'write it as for pip, such as "requests>=2"'
            raise ImageError(f"{place}:{line}: {str(package)[:60]!r} is no requirement: {remedy}")
    return Inline(dependencies=tuple(cast(list[str], packages)), requires_python=version.strip())


def _blocks(lines: list[str], place: str) -> Iterator[tuple[int, str]]:
    """The line and the TOML of each `script` block."""
    number = 0
    while number < len(lines):
        begin = _BEGIN.fullmatch(lines[number])
        number += 1
        if begin is None:
            continue
        start = number
        body: list[str] = []
        end: int | None = None
        while number < len(lines) and (
            lines[number].startswith("# ") or lines[number].rstrip() == "#"
        ):
            if _END.fullmatch(lines[number]):
                end = len(body)  # the last one within the comment counts
            body.append(lines[number][2:])
            number += 1
        if begin["kind"] != "script":
            continue
        if end is None:
            raise ImageError(f"{place}:{start}: the block has no end: write `# ///` behind it")
        yield start, "\n".join(body[:end])


def _is_requirement(package: object) -> bool:
    return (
        isinstance(package, str)
        and 0 < len(package) <= _LONGEST
        and package.isprintable()
        and not package.startswith("-")
        and package == package.strip()
    )


def base_image(requires_python: str, *, place: str) -> str:
    """The image whose Python the script may have. Raises ImageError."""
    clauses = [text.strip() for text in requires_python.split(",") if text.strip()]
    matches = [_CLAUSE.fullmatch(text) for text in clauses]
    for text, match in zip(clauses, matches, strict=True):
        if match is None:
            raise ImageError(f"{place}: requires-python: {text[:40]!r} is no version: >=3.11 is")
    for minor in _MINORS:
        if all(match is not None and _fits(minor, match) for match in matches):
            return _IMAGE.format(minor)
    known = f"3.{min(_MINORS)} to 3.{max(_MINORS)}"
    raise ImageError(
        f"{place}: requires-python {requires_python[:60]!r} leaves none of {known}: "
        "widen it, or write the Dockerfile by hand"
    )


def _fits(minor: int, clause: re.Match[str]) -> bool:
    here = (3, minor, _NEWEST_PATCH)
    there = tuple(int(part) for part in clause["version"].split("."))
    short = here[: len(there)]
    full = (*there, 0, 0)[:3]
    match clause["op"]:
        case "==":
            # `==3.12` is 3.12.0 by the letter; whoever writes it means 3.12.
            return short == there if clause["any"] or len(there) < len(here) else here == there
        case "!=":
            return short != there
        case "~=":
            return here >= full and here[: len(there) - 1] == there[:-1]
        case ">=":
            return here >= full
        case "<=":
            return short <= there
        case ">":
            return short > there
        case _:
            return here < full


def imported(script: Path, source: str) -> tuple[tuple[PurePosixPath, ...], tuple[str, ...]]:
    """Modules and packages beside a script that it imports, by way of others too; and notes."""
    found: dict[PurePosixPath, None] = {}
    notes: list[str] = []
    waiting = [(script, source)]
    read = 0
    while waiting:
        path, text = waiting.pop()
        try:
            names = sorted(set(_imports(ast.parse(text))))
        except (SyntaxError, ValueError, RecursionError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            notes.append(
                f"{path}{line}: Python {sys.version_info.major}.{sys.version_info.minor} cannot "
                "read it: COPY what it imports in the Dockerfile, by hand"
            )
            continue
        for name in names:
            place = _beside(script.parent, name)
            if place is None or place == PurePosixPath(script.name) or place in found:
                continue
            found[place] = None
            for file in _sources(script.parent / place):
                read += 1
                if read > _MOST_FILES:
                    raise ImageError(
                        f"{script} imports more than {_MOST_FILES} files beside it: make a package "
                        "of them that pip can install, and write the Dockerfile by hand"
                    )
                waiting.append((file, file.read_text(encoding="utf-8", errors="replace")))
    return tuple(sorted(found)), tuple(notes)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _beside(directory: Path, name: str) -> PurePosixPath | None:
    if (directory / name / "__init__.py").is_file():
        return PurePosixPath(name)
    if (directory / f"{name}.py").is_file():
        return PurePosixPath(f"{name}.py")
    # A directory without __init__.py is a package, too, unless it is only called like one.
    if (directory / name).is_dir() and any((directory / name).glob("*.py")):
        return PurePosixPath(name) if name not in sys.stdlib_module_names else None
    return None


def _sources(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    else:
        yield from (file for file in sorted(place.rglob("*.py")) if file.is_file())
