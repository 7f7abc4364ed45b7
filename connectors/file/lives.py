"""Lives: which content is where, while files are renamed, truncated, compressed and removed.

A life is attached to an open file for as long as that goes, so that renaming and removing the file
take nothing away. When the file no longer holds what was read from it (it was truncated), or after
a restart, the life is looked for by its content: in the file with its inode, in the one with its
name, and in those that rotating makes of the name, compressed or not.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from connectors.file.content import PACKED, UNREAD, Content, Damaged, content
from connectors.file.life import Life, holds, rotated
from connectors.file.paths import Found, Pattern, Walk, beside, fault, found, open_file
from connectors.file.places import (
    HEAD,
    START,
    TAIL,
    Identity,
    Position,
    identity,
    label,
    name,
)
from connectors.streams import SourceError

Clock = Callable[[], float]


@dataclass(kw_only=True)
class Look:
    """What a look at the directories has shown."""

    walk: Walk
    denied: dict[str, SourceError] = field(default_factory=dict[str, SourceError])


class Lives:
    """All lives of one trigger that are not over."""

    def __init__(self, pattern: Pattern, *, symlinks: bool, clock: Clock = time.monotonic) -> None:
        self._pattern = pattern
        self._symlinks = symlinks
        self._clock = clock
        self._names: set[str] = set()
        self._ended: dict[str, dict[str, Identity]] = {}  # by the label of their birthplace
        self._judged: set[tuple[int, int, int, int]] = set()
        self.by_name: dict[str, Life] = {}

    def tell(self, partition: str, position: Position | None) -> Life | None:
        """A partition that whoever runs this knows; `position` None: it is at its end."""
        self._names.add(partition)
        if position is None:
            ended = self.by_name.pop(partition, None)
            if ended is not None:
                ended.detach()
            mine = identity(partition)
            self._ended.setdefault(mine.label, {})[partition] = mine
            return None
        life = self.by_name.get(partition)
        if life is None:
            life = Life(partition=partition, identity=identity(partition), position=position)
            self.by_name[partition] = life
        life.known = True
        return life

    def known(self, partitions: Collection[str]) -> None:
        """Whoever runs this knows no other partitions that have ended."""
        for ended in self._ended.values():
            for partition in ended.keys() - partitions:
                del ended[partition]
                self._names.discard(partition)

    def over(self) -> list[str]:
        """Ended partitions whose content is not where rotating puts it any more: nobody could take
        it for a new one."""
        found: list[str] = []
        for ended in self._ended.values():
            with suppress(OSError, Damaged, SourceError):  # then it cannot be told
                found += self._removed(ended)
        return found

    def _removed(self, ended: Mapping[str, Identity]) -> list[str]:
        born = next((mine.born for mine in ended.values()), None)
        if born is None:
            return []
        heads: list[bytes] = []
        files = list(beside(self._pattern, born))
        if not files:
            return []  # perhaps nothing is mounted there now
        for file in files:
            if file.parts == born or rotated(file.parts, born):
                opened = self._open(file)
                try:
                    heads.append(opened.read(0, HEAD))
                finally:
                    opened.close()
        return [
            partition
            for partition, mine in ended.items()
            if not any(mine.begins(head) for head in heads)
        ]

    def look(self, since: int | None = None) -> Look:
        """Find where everything is now, and what is new; `since` is when somebody looked last,
        nanoseconds since the epoch, where that was somebody else."""
        walk = self._pattern.walk(symlinks=self._symlinks)
        look = Look(walk=walk)
        by_id = {file.id: file for file in walk.files.values()}
        for life in self.by_name.values():
            self._follow(life, by_id)
        self._search(walk)
        owned = {life.file.id for life in self._attached() if life.file is not None}
        for file in walk.files.values():
            if file.id in owned or not file.size or file.path.endswith(UNREAD):
                continue
            try:
                if not self._original(file) and not self._copied(file):
                    self._begin(file, file.parts)
                    owned.add(file.id)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    look.denied[file.path] = fault(file.path, error)
        self._missed(walk, owned, since)
        return look

    def successor(self, life: Life) -> bool:
        """Whether another life, which is known to whoever runs this, has taken its place."""
        return any(
            other is not life
            and other.known
            and other.identity.label == life.identity.label
            and other.at_birthplace
            for other in self._attached()
        )

    def close(self) -> None:
        """Let go of all files, and forget what was told."""
        for life in self.by_name.values():
            life.detach()
        self.by_name.clear()
        self._names.clear()
        self._ended.clear()
        self._judged.clear()

    def _attached(self) -> Iterator[Life]:
        return (life for life in self.by_name.values() if life.content is not None)

    def _follow(self, life: Life, by_id: dict[tuple[int, int], Found]) -> None:
        """Where the file of a life is now, and whether it still holds it."""
        if life.content is None or life.file is None:
            return
        info = life.content.stat()
        same = (info.st_size, info.st_mtime_ns) == (life.file.size, life.file.mtime)
        if not same and not life.intact():
            life.truncated = True
            life.detach()
            return
        place = by_id.get(life.file.id)
        life.matched = place is not None
        life.changed |= not same
        life.removed = info.st_nlink == 0
        at = place or life.file
        life.file = found(at.parts, at.path, info)
        life.size = max(life.size, info.st_size) if life.content.packed else info.st_size
        if place is None and not life.content.packed and not life.removed:
            # Where it has gone matters for its name only.
            for other in beside(self._pattern, life.file.parts):
                if other.id == life.file.id:
                    life.file = other
                    break

    # -- finding again ----------------------------------------------------------------------

    def _search(self, walk: Walk) -> None:
        missing = [life for life in self.by_name.values() if life.content is None]
        if not missing:
            return
        owned = {life.file.id for life in self._attached() if life.file is not None}
        for life in missing:
            for file in self._candidates(life, walk):
                if file.id in owned:
                    continue
                opened = self._opened(file)
                if opened is None:
                    continue
                end, tail = life.read_to()
                if self._is(life, opened, end, tail):
                    life.content, life.file = opened, file
                    life.matched = file.path in walk.files
                    life.missing_since, life.changed, life.size = None, True, file.size
                    life.truncated = life.removed = False
                    life.quiet_since = self._clock()
                    owned.add(file.id)
                    break
                opened.close()
            if life.content is None and life.missing_since is None:
                life.missing_since = self._clock()

    def _is(self, life: Life, opened: Content, end: int, tail: bytes) -> bool:
        try:
            if not tail:
                return holds(opened, life.identity, life.position)
            head = opened.read(0, HEAD)
            return life.identity.begins(head) and opened.read(end - len(tail), len(tail)) == tail
        except (OSError, Damaged):
            return False

    def _candidates(self, life: Life, walk: Walk) -> list[Found]:
        """Files in which a life may be, the likeliest first."""
        mine = life.identity
        places: dict[tuple[int, int], Found] = {}
        for file in walk.files.values():
            if label(file.parts) == mine.label or (
                mine.born is not None and rotated(file.parts, mine.born)
            ):
                places.setdefault(file.id, file)
        for file in self._beside(mine):
            places.setdefault(file.id, file)
        for file in walk.files.values():
            if (file.device, file.inode) == (mine.device, mine.inode):
                places.setdefault(file.id, file)
        same = (mine.device, mine.inode)
        return sorted(
            places.values(),
            key=lambda file: (
                file.id != same or life.truncated,
                label(file.parts) != mine.label,
                file.path.endswith(PACKED),
                -file.mtime,
            ),
        )

    def _beside(self, mine: Identity) -> Iterator[Found]:
        """Files beside its birthplace that rotating has made, or that have its inode."""
        if mine.born is None:
            return
        for file in beside(self._pattern, mine.born):
            if rotated(file.parts, mine.born) or file.id == (mine.device, mine.inode):
                yield file

    def _opened(self, file: Found) -> Content | None:
        try:
            return self._open(file)
        except OSError:
            return None

    def _open(self, file: Found) -> Content:
        opened = content(
            open_file(self._pattern.root, file.parts, symlinks=self._symlinks), file.path
        )
        info = opened.stat()
        if (info.st_dev, info.st_ino) != file.id:
            opened.close()
            raise OSError(errno.ESTALE, "is another file by now")
        return opened

    # -- new ones ---------------------------------------------------------------------------

    def _begin(self, file: Found, born: tuple[str, ...]) -> None:
        opened = self._open(file)
        try:
            head = opened.read(0, HEAD)
            info = opened.stat()
        except BaseException:
            opened.close()
            raise
        if not head:
            opened.close()
            return
        now = found(file.parts, file.path, info)
        chosen = first = name(found(born, file.path, info), head)
        number = 1
        while chosen in self._names:
            number += 1
            chosen = f"{first}~{number}"
        self._names.add(chosen)
        self.by_name[chosen] = Life(
            partition=chosen,
            identity=identity(chosen),
            position=START,
            content=opened,
            file=now,
            size=info.st_size,
            matched=file.parts == born,
            copied=file.parts != born,
            quiet_since=self._clock(),
        )

    def _original(self, file: Found) -> bool:
        """Whether a file is that of which a life was found as a copy, before it was truncated;
        the life then goes on in it."""
        for life in list(self._attached()):
            copy = life.file
            if life.content is None or copy is None or not life.copied:
                continue
            if life.identity.label != label(file.parts) or file.size < life.size:
                continue
            opened = self._open(file)
            at = max(0, life.size - TAIL)
            same = all(
                opened.read(begin, size) == life.content.read(begin, size)
                for begin, size in ((0, min(HEAD, life.size)), (at, life.size - at))
            )
            if same:
                life.detach()
                life.content, life.file, life.copied = opened, file, False
                life.changed = life.matched = True
                return True
            opened.close()
        return False

    def _copied(self, file: Found) -> bool:
        """Whether a file is (so far) a copy of a life's file, made before that is truncated."""
        for life in self._attached():
            born, opened = life.identity.born, life.content
            if opened is None or born is None or not rotated(file.parts, born):
                continue
            if life.file is None or life.file.parts == file.parts or opened.packed:
                continue
            copy = self._open(file)
            try:
                head, at = copy.read(0, HEAD), max(0, file.size - TAIL)
                if opened.read(0, len(head)) == head and copy.read(at, TAIL) == opened.read(
                    at, file.size - at
                ):
                    return True
            finally:
                copy.close()
        return False

    def _missed(self, walk: Walk, owned: set[tuple[int, int]], since: int | None) -> None:
        """Files that came up and were rotated away before anybody looked: whatever rotating has
        made of a name later than of the newest life that is known to have had it, or, where there
        is none, since somebody looked last."""
        newest: dict[tuple[str, ...], int] = {}
        settled: set[str] = set()
        for life in self._attached():
            at, born = life.file, life.identity.born
            if at is None or born is None:
                continue
            if not life.at_birthplace and not life.matched:
                newest[born] = max(newest.get(born, 0), at.mtime)
            elif life.known:
                settled.add(life.identity.label)
        if since is not None:
            names = {file.parts for file in walk.files.values()}
            if self._pattern.literal:
                names.add(self._pattern.parts)
            for born in names:
                if label(born) not in settled:
                    newest.setdefault(born, since)
        for born, after in newest.items():
            later = [
                file
                for file in beside(self._pattern, born)
                if rotated(file.parts, born)
                and file.mtime >= after
                and file.size
                and file.id not in owned
                and file.path not in walk.files
            ]
            for file in sorted(later, key=lambda file: file.mtime):
                version = (*file.id, file.size, file.mtime)
                if version in self._judged:
                    continue
                with suppress(OSError, Damaged):
                    seen = self._seen_before(file, label(born))
                    if seen:
                        self._judged.add(version)
                    elif seen is False:
                        self._begin(file, born)
                        owned.add(file.id)

    def _seen_before(self, file: Found, born: str) -> bool | None:
        """Whether a file holds what a life holds or has held; None: that cannot be told now."""
        opened = self._open(file)
        try:
            head = opened.read(0, HEAD)
        finally:
            opened.close()
        if any(ended.begins(head) for ended in self._ended.get(born, {}).values()):
            return True
        for life in self.by_name.values():
            mine = life.identity
            if mine.label != born or not (mine.begins(head) or len(head) < mine.length):
                continue
            if life.content is None:
                return None
            if life.content.read(0, len(head)) == head:
                return True
            if not life.intact():
                return None  # truncated since it was looked at: this may be its copy
        return False
