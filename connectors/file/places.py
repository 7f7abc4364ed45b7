"""Positions in a file, and the names of partitions.

A position is ``<offset>`` or ``<offset>:<tail>``: a byte offset, and a hash of the up to 256 bytes
before it, by which the content is known again wherever it lies now: a file that was truncated and
has grown beyond the offset since does not pass for the one that was read. ``.<lines>`` behind it
means so many lines further on.

A partition is the life of one content: from the first byte of a file until it is replaced. Its name
tells where it was born, the device and inode it was born on, and the hash of its first bytes:
``app/web.log@fe00.2a91c.1024.9f86d081884c7d65``, with ``~2`` behind it for another life that began
in the same way.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from connectors.file.paths import Found, original, printable

HEAD = 1024
"""Bytes at most from the beginning of a file that tell it from others."""
TAIL = 256
"""Bytes at most before a position that tell whether the content is still the same."""
_LABEL = 120
_POSITION = re.compile(r"(0|[1-9]\d{0,18})(?::([0-9a-f]{16}))?(?:\.([1-9]\d{0,9}))?", re.ASCII)
_NAME = re.compile(
    r"(?P<label>.+)@(?P<device>[0-9a-f]+)\.(?P<inode>[0-9a-f]+)"
    r"\.(?P<length>\d{1,4})\.(?P<hash>[0-9a-f]{16})(?:~\d+)?"
)
_CUT = "…"


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place between two lines."""

    offset: int
    """Bytes of the content."""
    tail: str = ""
    """The hash of what is before it; "" where nobody knows it, or nothing is."""
    skip: int = 0
    """So many lines further on."""

    def __str__(self) -> str:
        text = f"{self.offset}:{self.tail}" if self.tail else str(self.offset)
        return f"{text}.{self.skip}" if self.skip else text


START = Position(offset=0)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a partition's name says."""

    label: str
    device: int
    inode: int
    length: int
    hash: str
    """Of the first `length` bytes."""

    @cached_property
    def born(self) -> tuple[str, ...] | None:
        """Where it began, below the root; None where the name was too long for a label."""
        return None if _CUT in self.label else tuple(original(self.label).split("/"))

    def begins(self, head: bytes) -> bool:
        """Whether a content with these first bytes (`HEAD` of them, or all) may be this one."""
        return len(head) >= self.length and digest(head[: self.length]) == self.hash


def parse(text: str) -> Position:
    """The position that this text names. Raises ``ValueError``, also for ``end``."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text[:60]!r} is no position in a file: write a byte offset, OFFSET:HASH, or end"
        )
    return Position(offset=int(match[1]), tail=match[2] or "", skip=int(match[3] or 0))


def position(offset: int, before: bytes) -> Position:
    """The position behind these bytes, of which the last `TAIL` count."""
    return Position(offset=offset, tail=digest(before[-TAIL:]) if before else "")


def name(file: Found, head: bytes) -> str:
    """The name of the life that is in a file now."""
    head = head[:HEAD]
    birth = f"{file.device:x}.{file.inode:x}.{len(head)}.{digest(head)}"
    return f"{label(file.parts)}@{birth}"


def identity(partition: str) -> Identity:
    """What a name says. Raises ``ValueError`` for a name that `name` has not made."""
    match = _NAME.fullmatch(partition)
    if match is None:
        raise ValueError(f"{partition[:60]!r} is not the name of a file's partition")
    return Identity(
        label=match["label"],
        device=int(match["device"], 16),
        inode=int(match["inode"], 16),
        length=int(match["length"]),
        hash=match["hash"],
    )


def label(parts: tuple[str, ...]) -> str:
    """A path below the root, printable, of at most 120 characters."""
    text = printable("/".join(parts)).replace(_CUT, "%E2%80%A6")
    if len(text) <= _LABEL:
        return text
    return f"{digest(text.encode())}{_CUT}{text[-(_LABEL - 17) :]}"


def digest(content: bytes) -> str:
    """64 bits of SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
