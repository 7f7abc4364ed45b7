"""Paths and globs: which files a trigger means, and how they are opened without surprises.

A pattern is an absolute path whose parts may hold ``*``, ``?`` and ``[…]``; a part that is ``**``
stands for any number of directories. Everything up to the first such part is its *root*, which the
person who wrote it trusts. Below the root symbolic links are only followed where that is set up,
and nothing but regular files is ever opened: opening a FIFO or a device can block, or do things.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field

from connectors.abc import Problem, SettingsError
from connectors.streams import SourceRefused, SourceUnavailable
from connectors.validation import shown

MAX_PATH = 4000
_WILD = re.compile(r"[*?\[]")
_ABSOLUTE = "write an absolute path or glob, such as /var/log/app/*.log"
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})


@dataclass(frozen=True, kw_only=True)
class Found:
    """A regular file that a pattern means."""

    parts: tuple[str, ...]
    """Its path below the root."""
    path: str
    device: int
    inode: int
    size: int
    mtime: int
    """Nanoseconds since the epoch."""
    ctime: int

    @property
    def id(self) -> tuple[int, int]:
        """Device and inode: one file, whatever its names are."""
        return self.device, self.inode


@dataclass(kw_only=True)
class Walk:
    """What a walk has found."""

    files: dict[str, Found] = field(default_factory=dict[str, Found])
    """By path."""
    directories: set[str] = field(default_factory=set[str])
    """Those in which files may come up."""
    denied: dict[str, str] = field(default_factory=dict[str, str])
    """What could not be looked into, by path, with the reason."""


class Pattern:
    """A path or glob. Immutable."""

    def __init__(self, text: str) -> None:
        """Raises :class:`SettingsError`."""
        self.text = _checked(text)
        parts = [part for part in text.split("/") if part not in ("", ".")]
        fixed = next((n for n, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
        self.root = "/" + "/".join(parts[:fixed])
        self.parts = tuple(parts[fixed:])
        self._tests = [
            re.compile(fnmatch.translate(part)) if _WILD.search(part) else None
            for part in self.parts
        ]

    @property
    def literal(self) -> bool:
        """Whether it names one file."""
        return not any(self._tests)

    def walk(self, *, symlinks: bool = False) -> Walk:
        """The files there are now.

        Raises `SourceUnavailable` where the root is not there, `SourceRefused` where it may not be
        looked into.
        """
        walk = Walk()
        try:
            os.stat(self.root)
            self._into(walk, (), 0, symlinks, frozenset())
        except OSError as error:
            raise fault(self.root, error) from error
        return walk

    def _into(
        self,
        walk: Walk,
        above: tuple[str, ...],
        depth: int,
        symlinks: bool,
        visited: frozenset[tuple[int, int]],
    ) -> None:
        directory = _joined(self.root, above)
        if symlinks:
            # Links may lead in circles.
            own = os.stat(directory)
            if (own.st_dev, own.st_ino) in visited:
                return
            visited |= {(own.st_dev, own.st_ino)}
        walk.directories.add(directory)
        last = depth == len(self.parts) - 1
        anything = self.parts[depth] == "**"
        if anything and not last:
            self._into(walk, above, depth + 1, symlinks, visited if not symlinks else frozenset())
        for name in self._names(directory, depth):
            below = (*above, name)
            try:
                self._one(walk, below, depth, last, anything, symlinks, visited)
            except OSError as error:
                if error.errno in _DENIED:
                    walk.denied[_joined(self.root, below)] = error.strerror or str(error)
                elif error.errno not in _GONE:
                    raise

    def _names(self, directory: str, depth: int) -> list[str]:
        test = self._tests[depth]
        if test is None:
            return [self.parts[depth]]
        hidden = self.parts[depth].startswith(".")
        return sorted(
            name
            for name in os.listdir(directory)
            if test.match(name) and (hidden or not name.startswith("."))
        )

    def _one(
        self,
        walk: Walk,
        below: tuple[str, ...],
        depth: int,
        last: bool,
        anything: bool,
        symlinks: bool,
        visited: frozenset[tuple[int, int]],
    ) -> None:
        path = _joined(self.root, below)
        info = os.stat(path, follow_symlinks=symlinks)
        if stat.S_ISDIR(info.st_mode):
            if anything:
                self._into(walk, below, depth, symlinks, visited)
            elif not last:
                self._into(walk, below, depth + 1, symlinks, visited)
        elif last and stat.S_ISREG(info.st_mode):
            walk.files[path] = found(below, path, info)
        elif last and stat.S_ISLNK(info.st_mode) and self.literal:
            walk.denied[path] = "is a symbolic link: write `symlinks: true` to follow it"
        elif last and not stat.S_ISLNK(info.st_mode) and self.literal:
            walk.denied[path] = "is not a regular file"


def found(below: tuple[str, ...], path: str, info: os.stat_result) -> Found:
    """A file as its `stat` shows it."""
    return Found(
        parts=below,
        path=path,
        device=info.st_dev,
        inode=info.st_ino,
        size=info.st_size,
        mtime=info.st_mtime_ns,
        ctime=info.st_ctime_ns,
    )


def beside(pattern: Pattern, parts: tuple[str, ...]) -> Iterator[Found]:
    """The regular files in the directory of a file of a pattern; links are no files here."""
    directory = _joined(pattern.root, parts[:-1])
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_file(follow_symlinks=False):
                info = entry.stat(follow_symlinks=False)
                yield found((*parts[:-1], entry.name), entry.path, info)
        except OSError:
            continue


def open_file(root: str, parts: tuple[str, ...], *, symlinks: bool) -> int:
    """A descriptor for reading a regular file below a root. Raises OSError.

    No part below the root may be a link unless `symlinks`, also one that has just become one.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | (0 if symlinks else os.O_NOFOLLOW)
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        info = os.stat(parts[-1], dir_fd=at, follow_symlinks=symlinks)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        # It may have become a FIFO since: then opening it does not wait.
        file = os.open(parts[-1], flags | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "is not a regular file")
    return file


def fault(path: str, error: OSError) -> SourceUnavailable | SourceRefused:
    """What an error of the operating system means for a source."""
    what = f"{printable(path)}: {error.strerror or error}"
    if error.errno in _DENIED:
        user = f"the user with id {os.geteuid()}"
        return SourceRefused(f"{what}; {user}, as whom orch runs, must be able to read it")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return SourceUnavailable(f"{what}; raise the limit of open files (ulimit -n)")
    return SourceUnavailable(what)


def printable(path: str) -> str:
    """A path in printable characters: control characters, bytes that are no UTF-8, and ``%`` are
    percent-encoded, so that distinct paths stay distinct."""
    if path.isprintable() and "%" not in path:
        return path
    return "".join(
        char
        if char.isprintable() and char != "%"
        else urllib.parse.quote_from_bytes(os.fsencode(char), safe="")
        for char in path
    )


def original(text: str) -> str:
    """The inverse of `printable`."""
    if "%" not in text:
        return text
    return os.fsdecode(urllib.parse.unquote_to_bytes(os.fsencode(text)))


def _checked(text: str) -> str:
    problem: tuple[str, str] | None = None
    parts = text.split("/")
    if not text.startswith("/"):
        problem = f"{shown(text)} is not an absolute path", _ABSOLUTE
    elif "\0" in text or not text.isprintable():
        problem = f"{shown(text)} holds control characters", "write ? in their place"
    elif len(text) > MAX_PATH:
        problem = f"the path has {len(text)} characters", f"write at most {MAX_PATH}"
    elif ".." in parts:
        problem = f"{shown(text)} holds '..'", "write the path without it"
    elif text.endswith("/") or parts[-1] in ("", "."):
        problem = f"{shown(text)} is a directory", f"write {text.rstrip('/')}/* for what is in it"
    elif parts[-1] == "**":
        problem = f"{shown(text)} ends in '**'", f"write {text}/* for the files below it"
    elif any("**" in part and part != "**" for part in parts):
        problem = f"{shown(text)} holds '**' within a part", "write ** between two slashes"
    if problem is not None:
        raise SettingsError([Problem("", *problem)])
    return text


def _joined(root: str, parts: tuple[str, ...]) -> str:
    return "/".join((root.rstrip("/"), *parts)) if parts else root
