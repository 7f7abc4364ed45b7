"""Objects as files in a directory that orch and the nodes share.

A write goes to a temporary name in the object's own directory, is flushed to the disk, takes its
name by rename, and then the directories that changed are flushed: whole or absent, also after a
power cut.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from connectors.abc import JSON
from connectors.storage.address import DirectoryAddress
from connectors.storage.objects import (
    STALE,
    Body,
    ObjectGone,
    ObjectStore,
    StorageRefused,
    StorageUnavailable,
    Stored,
    check_name,
    check_prefix,
    check_target,
)

_TEMPORARY = ".orch-"
_TRIES = 10
_REMEMBERED = 10_000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


class DirectoryStore(ObjectStore):
    """A directory, made on use."""

    def __init__(self, address: DirectoryAddress) -> None:
        self._root = Path(address.path)
        self._durable: set[Path] = set()

    def put(self, name: str, body: Body) -> Stored:
        place = self._root / check_name(name)
        try:
            size = self._put(place, body)
        except OSError as error:
            _fail("write", place, error)
        return Stored(name=name, uri=place.as_uri(), size=size)

    def remove(self, name: str) -> None:
        place = self._root / check_name(name)
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                place.unlink()
            self._prune(place.parent)
        except OSError as error:
            _fail("remove", place, error)

    def list(self, prefix: str = "") -> Iterator[str]:
        for place in self._files(prefix):
            if not place.name.startswith(_TEMPORARY):
                yield place.relative_to(self._root).as_posix()

    def open(self, name: str) -> BinaryIO:
        place = self._root / check_name(name)
        try:
            return place.open("rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ObjectGone(f"there is no file {place}") from error
        except OSError as error:
            _fail("read", place, error)

    def source(self, stored: Stored, target: str) -> Mapping[str, JSON]:
        check_target(stored.name, target)
        params = {"SourcePath": str(self._root / check_name(stored.name))}
        return {"Source": {"Type": "localDirectory", "Params": params}, "Target": target}

    def name_of(self, source: Mapping[str, JSON]) -> str | None:
        match source:
            case {"Source": {"Type": "localDirectory", "Params": {"SourcePath": str(path)}}}:
                root = f"{self._root}/"
                with suppress(ValueError):
                    return check_name(path[len(root) :]) if path.startswith(root) else None
            case _:
                pass
        return None

    def sweep(self, prefix: str = "", older_than: float = STALE) -> None:
        before = time.time() - older_than
        for place in self._files(prefix):
            if place.name.startswith(_TEMPORARY):
                try:
                    if place.stat().st_mtime < before:
                        place.unlink()
                        self._prune(place.parent)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    _fail("remove", place, error)

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _put(self, place: Path, body: Body) -> int:
        descriptor, path, made = self._new_file(place.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if isinstance(body, Path):
                    with body.open("rb") as content:
                        shutil.copyfileobj(content, file)
                else:
                    file.writelines(body)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            path.replace(place)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._sync(place.parent, made)
        return size

    def _new_file(self, directory: Path) -> tuple[int, Path, Sequence[Path]]:
        """A new file in a directory, and the directories in which others were made for it."""
        path = directory / f"{_TEMPORARY}{uuid.uuid4().hex}"
        # Another thread may remove the directory while it is empty.
        for _ in range(_TRIES):
            made = _missing(directory)
            with suppress(FileNotFoundError):
                directory.mkdir(parents=True, exist_ok=True)
                return os.open(path, _CREATE, 0o666), path, made
        raise OSError(errno.EAGAIN, "its directory is removed again and again")

    def _sync(self, directory: Path, made: Sequence[Path]) -> None:
        """Flush the names that lead to a file in a directory, as far as they may not be on the disk
        yet: another thread or process may have made them a moment ago."""
        waiting = [directory, *made]
        shared: list[Path] = []
        while directory != self._root:
            if directory not in self._durable:
                waiting.append(directory.parent)
            directory = directory.parent
            shared.append(directory)
        for place in dict.fromkeys(waiting):
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if len(self._durable) > _REMEMBERED:
            self._durable.clear()
        self._durable.update(shared)

    def _prune(self, directory: Path) -> None:
        """Remove directories that are empty now, up to the root."""
        while directory != self._root and directory.is_relative_to(self._root):
            self._durable.discard(directory)
            try:
                directory.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    return
                raise
            directory = directory.parent

    def _files(self, prefix: str) -> Iterator[Path]:
        start = self._root / check_prefix(prefix)

        def failed(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                _fail("list", start, error)

        for directory, _, names in os.walk(start, onerror=failed):
            for name in names:
                yield Path(directory, name)


def _missing(directory: Path) -> list[Path]:
    """The directories in which a name must be made for a directory to exist."""
    parents: list[Path] = []
    while not directory.exists():
        directory = directory.parent
        parents.append(directory)
    return parents


def _fail(verb: str, place: Path, error: OSError) -> NoReturn:
    message = f"cannot {verb} {place}: {error.strerror or error}"
    if error.errno in _REFUSED:
        raise StorageRefused(f"{message}: look at its owner and permissions") from error
    raise StorageUnavailable(message) from error
