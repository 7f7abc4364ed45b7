"""Reads a script: its language, what it needs installed, and what lies beside it that it uses."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.images import ImageError, pythons

REQUIREMENTS = "requirements.txt"
MAX_SCRIPT = 1024 * 1024
"""Longest script, in bytes."""

_SHELL_IMAGE = "debian:12-slim"
_SHELLS = ("bash", "dash", "sh")
_SUFFIXES = {".py": "python", ".sh": "bash", ".bash": "bash"}
_LANGUAGES = "Python (.py) and shell scripts (.sh, .bash, or a first line such as #!/bin/sh)"
# Neither a pattern of COPY nor a variable of a Dockerfile.
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@= -]{0,99}(?<! )", re.ASCII)
_INCLUDED = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s+|=)(?P<file>\S+)")
_LOCAL = re.compile(r"(?:-e|--editable|-f|--find-links)\b|\.{0,2}/|\.$|file:|\S+\s+@\s+file:")


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script and what its image needs.

    `interpreter` runs it, in the image `base`. `packages` are requirements of pip that stand in
    the script itself, `requirements` files of them, the first one naming the others. `modules` are
    files and directories that it imports. Both lie in `directory`, beside the script, and their
    paths are relative to it. `notes` say what nobody can know but its author.
    """

    directory: Path
    name: str
    interpreter: tuple[str, ...]
    base: str
    packages: tuple[str, ...] = ()
    requirements: tuple[PurePosixPath, ...] = ()
    modules: tuple[PurePosixPath, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[PurePosixPath, ...]:
        """All that goes into the image, relative to `directory`."""
        return (PurePosixPath(self.name), *self.requirements, *self.modules)


def read(path: Path) -> Script:
    """Read a script. Raises ImageError."""
    source = _text(path)
    if not _FILE_NAME.fullmatch(path.name):
        remedy = "rename it: letters, digits, spaces and _ . + @ = -"
        raise ImageError(f"{path}: a Dockerfile cannot name that file: {remedy}")
    language = _language(path, source)
    if language == "python":
        return _python(path, source)
    return Script(directory=path.parent, name=path.name, interpreter=(language,), base=_SHELL_IMAGE)


def _text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise ImageError(f"{path} is {what}: name a script")
        with path.open("rb") as file:
            data = file.read(MAX_SCRIPT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ImageError(f"{path}: {(reason or str(error)).lower()}") from error
    if len(data) > MAX_SCRIPT:
        raise ImageError(f"{path} has more than {MAX_SCRIPT:,} bytes: that is no script")
    if b"\0" in data:
        raise ImageError(f"{path} is a program, not a text: orch new knows {_LANGUAGES}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError(f"{path}: byte {error.start + 1} is not UTF-8: save it so") from error


def _language(path: Path, source: str) -> str:
    if not source.strip():
        raise ImageError(f"{path} is empty: write the script first")
    named = _interpreter(source)
    if path.suffix.lower() == ".py" or named.startswith("python") or named in ("uv", "pipx"):
        return "python"
    if named in _SHELLS:
        return named
    by_suffix = _SUFFIXES.get(path.suffix.lower())
    if named or by_suffix is None:
        what = f"runs with {named[:40]!r}" if named else "does not say what runs it"
        remedy = "write a Dockerfile, and a trigger file like those in `orch new`'s page"
        raise ImageError(f"{path} {what}: orch new knows {_LANGUAGES}; for others {remedy}")
    return by_suffix


def _interpreter(source: str) -> str:
    """The program in the first line, `env` and its options left out; empty without one."""
    first = source.partition("\n")[0].rstrip()
    if not first.startswith("#!"):
        return ""
    try:
        words = shlex.split(first[2:])
    except ValueError:
        words = first[2:].split()
    if words and PurePosixPath(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return PurePosixPath(words[0]).name if words else ""


def _python(path: Path, source: str) -> Script:
    inline = pythons.inline_metadata(source, place=str(path))
    modules, notes = pythons.imported(path, source)
    listed = list(_requirements(path.parent))
    for file in modules:
        if not all(_FILE_NAME.fullmatch(part) for part in file.parts):
            raise ImageError(f"{path.parent / file}: a Dockerfile cannot name it: rename it")
    return Script(
        directory=path.parent,
        name=path.name,
        interpreter=("python", "-u"),
        base=pythons.base_image(inline.requires_python, place=str(path)),
        packages=inline.dependencies,
        requirements=tuple(file for file, _ in listed),
        modules=modules,
        notes=(*notes, *(note for _, found in listed for note in found)),
    )


def _requirements(directory: Path) -> Iterator[tuple[PurePosixPath, list[str]]]:
    """`requirements.txt` and the files that it names, each with what is to be said of it."""
    waiting = [PurePosixPath(REQUIREMENTS)]
    seen = set(waiting)
    while waiting:
        file = waiting.pop(0)
        place = directory / file
        if file == PurePosixPath(REQUIREMENTS) and not place.exists():
            return
        notes: list[str] = []
        for number, line in enumerate(_text(place).splitlines(), 1):
            line = line.strip()
            included = _INCLUDED.match(line)
            if included and "://" in line:
                continue
            if included:
                other = PurePosixPath(file.parent, included["file"])
                if other.is_absolute() or ".." in other.parts:
                    raise ImageError(
                        f"{place}:{number}: {included['file']} is not below {directory}: an image "
                        "is made of files beside the script; put it there"
                    )
                if not all(_FILE_NAME.fullmatch(part) for part in other.parts):
                    raise ImageError(f"{place}:{number}: a Dockerfile cannot name that: rename it")
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
            elif _LOCAL.match(line):
                said = f"{line[:60]!r} names something of this machine"
                notes.append(f"{place}:{number}: {said}: COPY it in the Dockerfile, by hand")
        yield file, notes
