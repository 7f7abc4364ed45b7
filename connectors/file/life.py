"""One life: the content of a file from its first byte until it is replaced."""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.file.content import PACKED, Content
from connectors.file.lines import Lane
from connectors.file.paths import Found
from connectors.file.places import HEAD, TAIL, Identity, Position, digest, label


@dataclass(kw_only=True)
class Life:
    """One partition that is not at its end."""

    partition: str
    identity: Identity
    position: Position
    """Where its next batch begins, as far as is known here."""
    content: Content | None = None
    file: Found | None = None
    """Where the content lies, as it was seen last."""
    lane: Lane | None = None
    known: bool = False
    """Whether it has been told to whoever runs this."""
    changed: bool = True
    """Whether there may be something to read."""
    matched: bool = False
    """Whether the pattern means the file in which it lies."""
    missing_since: float | None = None
    """Since when its content has been looked for in vain."""
    quiet_since: float = 0.0
    """Since when nothing has come."""
    size: int = 0
    """Of its file, when it was looked at last."""
    removed: bool = False
    """Whether its file has no name any more; it is read to its end all the same."""
    copied: bool = False
    """Whether it was found among rotated files, maybe as the copy of one that is still there."""
    truncated: bool = False
    """Whether its file was seen to lose it."""

    @property
    def at_birthplace(self) -> bool:
        """Whether the file has the name that it had in the beginning."""
        return (
            self.file is not None
            and not self.removed
            and label(self.file.parts) == self.identity.label
        )

    def read_to(self) -> tuple[int, bytes]:
        """As far as it was read, and the bytes before that where they are in memory."""
        if self.lane is not None:
            return self.lane.end, self.lane.tail
        return self.position.offset, b""

    def intact(self) -> bool:
        """Whether the file still holds what was read from it."""
        assert self.content is not None
        if self.content.packed:
            return True
        end, tail = self.read_to()
        if tail:
            return self.content.read(end - len(tail), len(tail)) == tail
        return holds(self.content, self.identity, self.position)

    def detach(self) -> None:
        """Let go of the file."""
        if self.content is not None:
            self.content.close()
        self.content = None
        self.matched = False


def holds(opened: Content, mine: Identity, position: Position) -> bool:
    """Whether a content is that of a life, as far as its name and a position tell."""
    if not mine.begins(opened.read(0, HEAD)):
        return False
    if not position.tail:
        return True
    at = max(0, position.offset - TAIL)
    before = opened.read(at, position.offset - at)
    return len(before) == position.offset - at and digest(before) == position.tail


def rotated(parts: tuple[str, ...], born: tuple[str, ...]) -> bool:
    """Whether a path may be what rotating has made of another one: ``app.log`` becomes
    ``app.log.1``, ``app.log-20261121.gz``, ``app-20261121.log``, ``app.1.log.zst``, …"""
    if parts[:-1] != born[:-1] or parts == born:
        return False
    base, plain = born[-1], parts[-1]
    if not plain.startswith(base.rpartition(".")[0] or base):
        return False
    for ending in PACKED:
        plain = plain.removesuffix(ending)
    if plain == base:
        return True
    stem, dot, ending = base.rpartition(".")
    shapes = [re.escape(base) + r"[._-].*"]
    if stem and dot:
        shapes.append(re.escape(stem) + r"[._-].*" + re.escape(dot + ending))
    return any(re.fullmatch(shape, plain, re.DOTALL) for shape in shapes)
