"""One place that stores what a source will not give again: objects by name.

A *name* is parts joined by ``/``, made with `part` where text comes from outside. Its last part is
the name of the file that a task sees; give every object a directory of its own
(``u-3f9a/logs/7/100-200/batch.ndjson``), because an S3 input is mounted as a directory.

Exceptions::

    streams.SourceError
    ├── ObjectGone            there is no object with this name
    ├── StorageUnavailable    (SourceUnavailable) nobody answers, or no room now: tried again soon
    └── StorageRefused        (SourceRefused) wrong credentials, no such bucket, no right
"""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeAlias

from connectors.abc import JSON
from connectors.streams import SourceError, SourceRefused, SourceUnavailable

Body: TypeAlias = Sequence[bytes] | Path
"""What an object holds: chunks in memory, or a file. A repeated write reads it again."""

STALE = 3600.0
"""Seconds after which what an interrupted write left is nobody's any more."""

_MAX_PART = 200
_MAX_NAME = 800
_PART = re.compile(r"[A-Za-z0-9_%=+-][A-Za-z0-9_%=+.-]*", re.ASCII)


class ObjectGone(SourceError):
    """There is no object with this name."""


class StorageUnavailable(SourceUnavailable):
    """The place does not answer, or takes nothing now."""


class StorageRefused(SourceRefused):
    """The place says no: wrong credentials, no such bucket, no right to write."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object that is durable."""

    name: str
    uri: str
    """``file:///dir/name``, ``s3://bucket/prefix/name`` or ``ipfs://CID``: for people and tasks."""
    size: int
    """Bytes."""


class ObjectStore(ABC):
    """Objects under one address. Safe to share between threads; connects on first use."""

    @abstractmethod
    def put(self, name: str, body: Body) -> Stored:
        """Store an object: whole and durable when this returns, absent or as before when it raises.

        The same name again replaces the object; with the same bytes nothing changes.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove an object. One that is gone already is no error."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """The names of all objects below a prefix of whole parts (``u-3f9a/logs``), in no order;
        interrupted writes are not among them."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """The object for reading, from its beginning. To be closed. Raises :class:`ObjectGone`."""

    @abstractmethod
    def source(self, stored: Stored, target: str) -> Mapping[str, JSON]:
        """The Bacalhau input source with which a task finds the object as the file ``target``.

        ``target`` is an absolute path that ends in the last part of the object's name; otherwise
        ValueError, because a node names a file from S3 by its key.
        """

    @abstractmethod
    def name_of(self, source: Mapping[str, JSON]) -> str | None:
        """The name of the object that an input source of `source` stands for; None: not one of
        this store."""

    @abstractmethod
    def sweep(self, prefix: str = "", older_than: float = STALE) -> None:
        """Remove what interrupted writes below a prefix left more than so many seconds ago."""

    def forget(self, sources: Iterable[Mapping[str, JSON]]) -> None:
        """Remove the objects of input sources; those that are not of this store are passed over."""
        for source in sources:
            name = self.name_of(source)
            if name is not None:
                self.remove(name)

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. May be called twice."""

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def part(text: str) -> str:
    """Any text as one part of a name: distinct texts give distinct parts.

    Letters, digits and ``_.-`` stay (but for a leading dot), everything else is percent-encoded;
    what is long is shortened and ends in a hash.
    """
    encoded = urllib.parse.quote(text, safe="", errors="surrogatepass").replace("~", "%7E")
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if 0 < len(encoded) <= _MAX_PART:
        return encoded
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
    # "=" is never part of an encoded text, so that no other text gives the same part.
    return f"{encoded[:100]}={digest}"


def check_name(name: str) -> str:
    """The name itself; ValueError if it is none."""
    if len(name) > _MAX_NAME:
        raise ValueError(f"an object's name has at most {_MAX_NAME} characters: {name[:60]!r}…")
    for piece in name.split("/"):
        if len(piece) > _MAX_PART or not _PART.fullmatch(piece):
            raise ValueError(f"{name!r} is not an object's name: make its parts with part()")
    return name


def check_prefix(prefix: str) -> str:
    """The prefix itself, without a slash at its end; ValueError if it is no part of a name."""
    prefix = prefix.rstrip("/")
    return check_name(prefix) if prefix else ""


def check_target(name: str, target: str) -> str:
    """The directory of a target; ValueError where a task could not find the object there."""
    directory, _, file = target.rpartition("/")
    if not directory.startswith("/") or file != name.rpartition("/")[2]:
        raise ValueError(f"{target!r} is no path that ends in the last part of {name!r}")
    return directory


def size_of(body: Body) -> int:
    """Bytes of a body."""
    return body.stat().st_size if isinstance(body, Path) else sum(map(len, body))


def blocks(body: Body, size: int) -> Iterator[bytes]:
    """A body in blocks of ``size`` bytes, the last one shorter; none if it is empty."""
    if isinstance(body, Path):
        with body.open("rb") as file:
            while block := file.read(size):
                yield block
        return
    waiting: list[bytes] = []
    count = 0
    for chunk in body:
        waiting.append(chunk)
        count += len(chunk)
        while count >= size:
            joined = b"".join(waiting)
            yield joined[:size]
            waiting, count = [joined[size:]], count - size
    if count:
        yield b"".join(waiting)


def inline_source(content: bytes, target: str) -> Mapping[str, JSON]:
    """The Bacalhau input source that carries small content in the job itself, as the file
    ``target``. Four bytes of the job's size for three of content."""
    # A node unpacks application/gzip as a tar archive, so compressed content must not say so.
    encoded = base64.b64encode(content).decode()
    url = f"data:application/octet-stream;base64,{encoded}"
    return {"Source": {"Type": "inline", "Params": {"URL": url}}, "Target": target}
