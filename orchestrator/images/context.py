"""The hash of what an image is built from: the Dockerfile and the files that the engine is sent.

Patterns of `.dockerignore` mean what Docker's documentation says of them.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.images import ImageError

TAG_DIGITS = 16
_MOST_FILES = 50_000
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A line of `.dockerignore`. `kept`: it began with `!`. `wide`: it may match below the top."""

    pattern: re.Pattern[str]
    kept: bool
    wide: bool


def rules(text: str, *, place: str) -> list[Rule]:
    """Read a `.dockerignore`. Raises ImageError."""
    found: list[Rule] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        text = line.strip()
        kept = text.startswith("!")
        glob = posixpath.normpath(text.removeprefix("!").strip() or ".").lstrip("/")
        if glob in ("", "."):
            continue
        try:
            pattern = re.compile(_translated(glob))
        except (re.error, IndexError) as error:
            raise ImageError(f"{place}:{number}: {text[:60]!r} is no pattern: {error}") from error
        found.append(Rule(pattern=pattern, kept=kept, wide="/" in glob or "**" in glob))
    return found


def _translated(glob: str) -> str:
    """A pattern as a regular expression. Raises re.error, IndexError."""
    out: list[str] = []
    at = 0
    while at < len(glob):
        one = glob[at]
        at += 1
        if one == "*" and glob[at : at + 1] == "*":
            at += 1
            if glob[at : at + 1] == "/":
                at += 1
                out.append("(?:.*/)?")
            else:
                out.append(".*")
        elif one == "*":
            out.append("[^/]*")
        elif one == "?":
            out.append("[^/]")
        elif one == "[":
            end = glob.index("]", at + 1) if "]" in glob[at + 1 :] else len(glob)
            inside = glob[at:end]
            if end == len(glob):
                raise re.error("a bracket is not closed")
            negated = inside.startswith("^")
            body = inside.removeprefix("^").replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{'^' if negated else ''}{body}]")
            at = end + 1
        elif one == "\\":
            out.append(re.escape(glob[at]))
            at += 1
        else:
            out.append(re.escape(one))
    return "".join(out)


def ignored(path: str, found: list[Rule]) -> bool:
    """Whether a file is left out: the last rule that matches it or a directory above decides."""
    parts = path.split("/")
    ways = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    out = False
    for rule in found:
        if rule.kept == out and any(rule.pattern.fullmatch(way) for way in ways):
            out = not rule.kept
    return out


def tag(
    directory: Path, dockerfile: Path, *, platform: str = "", without: Path | None = None
) -> str:
    """The tag of the image: 16 digits of a SHA-256. Raises ImageError, OSError.

    It changes with the Dockerfile, the platform, and the names, contents and permission to run of
    the files that `.dockerignore` leaves in. `without`, the trigger file, does not count: it is
    changed each time.
    """
    whole = hashlib.sha256()
    whole.update(_entry("platform", platform.encode()))
    whole.update(_entry("Dockerfile", _digest(dockerfile)))
    ignore = directory / ".dockerignore"
    found: list[Rule] = []
    if ignore.is_file():
        found = rules(ignore.read_text(encoding="utf-8", errors="replace"), place=str(ignore))
    skipped = None if without is None else without.resolve()
    for number, (name, place) in enumerate(_files(directory, found)):
        if number >= _MOST_FILES:
            remedy = f"name in {ignore} what the image does not need"
            raise ImageError(f"{directory} holds more than {_MOST_FILES:,} files: {remedy}")
        if skipped is not None and place.resolve() == skipped:
            continue
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            whole.update(_entry(f"link {name}", os.fsencode(place.readlink())))
        elif stat.S_ISREG(mode):
            runs = "program" if mode & stat.S_IXUSR else "file"
            whole.update(_entry(f"{runs} {name}", _digest(place)))
    return whole.hexdigest()[:TAG_DIGITS]


def _files(directory: Path, found: list[Rule]) -> Iterator[tuple[str, Path]]:
    """Files and links that are sent, in the order of their names."""
    # Where all exceptions are names at the top, nothing below an ignored directory comes back.
    prune = not any(rule.kept and rule.wide for rule in found)
    for folder, folders, names in os.walk(directory, onerror=_raise):
        here = Path(folder)
        above = here.relative_to(directory).as_posix()
        prefix = "" if above == "." else f"{above}/"
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name
            for name in folders
            if name not in links and not (prune and ignored(prefix + name, found))
        )
        for name in sorted([*names, *links]):
            if not ignored(prefix + name, found):
                yield prefix + name, here / name


def _raise(error: OSError) -> None:
    raise error


def _digest(place: Path) -> bytes:
    digest = hashlib.sha256()
    with place.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.digest()


def _entry(name: str, data: bytes) -> bytes:
    """A part of what is hashed, which no other parts can be taken for."""
    parts = (os.fsencode(name), data)
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
