"""Trigger files from the command line: found, read, checked."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import specs
from connectors.registry import Registry
from orchestrator.cli.errors import CliError, usage
from orchestrator.operations.checking import CheckedFile, FileChecker

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = Path("-")
_LIBRARY = "library:"  # before the name of a file that comes with orch
_SHOWN = 100  # problems


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file's text, its name in messages, and where what it names locally is looked for."""

    name: str
    data: bytes
    directory: Path


def find(paths: Sequence[Path]) -> Iterator[Path]:
    """The files that the arguments mean. Hidden files in directories are left out."""
    for path in paths:
        if path == STDIN or not path.is_dir():
            yield path
            continue
        found = False
        for folder, folders, names in os.walk(path, onerror=_raise):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for name in sorted(names):
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    found = True
                    yield Path(folder) / name
        if not found:
            raise CliError(f"{path} holds no {', '.join(SUFFIXES)} file: name another directory")


def _raise(error: OSError) -> None:
    raise CliError(f"{error.filename}: {_said(error)}") from error


def _said(error: OSError | ValueError) -> str:
    """Why a file cannot be read, without its name."""
    reason = error.strerror if isinstance(error, OSError) else "not a path"
    return (reason or "cannot be read").lower()


def read(path: Path) -> Source:
    """Read a file, `library:NAME`, or standard input for `-`. Raises CliError."""
    if str(path).startswith(_LIBRARY):
        path = _of_library(str(path).removeprefix(_LIBRARY))
    if path == STDIN:
        if sys.stdin.isatty():
            raise usage("-f - reads standard input, and that is a terminal: name a file")
        data = sys.stdin.buffer.read(specs.MAX_TEXT + 1)
        return Source(name="standard input", data=data, directory=Path.cwd())
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a directory" if path.is_dir() else "not a regular file"
            raise CliError(f"{path} is {what}: name a {', '.join(SUFFIXES)} file")
        with path.open("rb") as file:
            return Source(name=str(path), data=file.read(specs.MAX_TEXT + 1), directory=path.parent)
    except (OSError, ValueError) as error:
        raise CliError(f"{path}: {_said(error)}: name another file") from error


def _of_library(name: str) -> Path:
    known = specs.library() | specs.templates()
    if name not in known:
        raise CliError(f"the library has no {name[:60]!r}: it has {', '.join(known)}")
    return known[name]


def load(source: Source, blocks: specs.Blocks | None = None) -> specs.Document:
    """The document in a file. Raises SpecError."""
    return specs.load(source.data, file=source.name, blocks=blocks)


@dataclass(frozen=True, kw_only=True)
class Alike:
    """What the files of a directory have in common, read once."""

    blocks: specs.Blocks = field(default_factory=specs.Blocks)
    files: dict[str, specs.TriggerFile] = field(default_factory=dict[str, specs.TriggerFile])


def check(checker: FileChecker, source: Source, alike: Alike | None = None) -> CheckedFile:
    """Check a trigger file. Raises SpecError. `alike` is what the calls for many files share."""
    if alike is None:
        file = checker.parse(load(source))
    else:
        file = checker.parse_like(load(source, alike.blocks), alike.files)
    return checker.check_file(file, base_dir=source.directory)


def new_checker() -> FileChecker:
    """A checker with the connectors that are installed here."""
    return FileChecker(Registry.load())


def problems_error(problems: Sequence[specs.Problem]) -> CliError:
    """What is wrong with files, one line each."""
    lines = [str(problem) for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"… and {len(problems) - _SHOWN:,} more")
    if len(lines) > 1:
        lines.insert(0, f"{len(problems):,} problems")
    return CliError("\n".join(lines))


def body_of(checked: CheckedFile) -> dict[str, object]:
    """What is sent for a trigger: its file with local modules read in.

    A job of the library is left to the orchestrator, which has it too.
    """
    body = checked.stated()
    if checked.file.job_dir is not None:
        del body["job"]
    return body
