"""Kind ``file``: files are followed line by line.

`poll` waits by itself: for the kernel to tell of changes, and for batches to become due. Files are
read when something has changed in them, and all of them now and then, because nobody tells of
changes on a remote file system.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from connectors.abc import JSON
from connectors.file.batches import Packer, place_of
from connectors.file.content import Damaged
from connectors.file.inotify import ATTRIB, CLOSE_WRITE, IS_DIR, MODIFY, OVERFLOW, Watcher
from connectors.file.lines import Form, Lane
from connectors.file.lives import Life, Lives, Look
from connectors.file.memory import Memory
from connectors.file.paths import Pattern, fault, printable
from connectors.file.places import START, TAIL, Position, parse, position
from connectors.file.settings import FileSettings
from connectors.file.texts import first_line
from connectors.payloads import Payloads
from connectors.streams import (
    END,
    Batch,
    Discovery,
    Place,
    RunRef,
    SourceContext,
    SourceError,
    SourceRefused,
    StreamSource,
    Want,
)
from connectors.times import SECOND

CHUNK = 1 << 20
"""Bytes that are read of a file before another one has its turn."""
MEMORY = 256 * 2**20
"""Bytes of lines in memory above which batches are closed early and reading pauses."""
LOOK = 10.0
"""Seconds between two looks at everything, where changes are told."""
LOOK_BLIND = 0.5
"""The same, where they are not."""
RETIRE = 3600.0
"""Seconds between two looks for contents that are over and not on the disk any more."""
_DATA = MODIFY | CLOSE_WRITE | ATTRIB
_SEARCH = 0.2  # seconds between two looks for a content that was in its file a moment ago
_GONE = (
    30.0  # seconds after which a content that nobody finds is given up, where it has a successor
)


class FileSource(StreamSource):
    """The lives of files as partitions."""

    def __init__(self, settings: FileSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._limits = settings.limits
        self._pattern = Pattern(settings.path)
        self._lives = Lives(self._pattern, symlinks=settings.symlinks)
        self._watcher: Watcher | None = None
        self._packer = Packer(settings, self._pattern, context.trigger_uid)
        self._memory = Memory(context.data_dir / "looked")
        self._opened = False
        self._since: int | None = None
        self._look_at = 0.0
        self._retire_at = 0.0
        self._told: set[str] = set()
        self._failure: SourceError | None = None
        self._wants: dict[str, Want] = {}
        self._passed_over: set[str] = set()  # files beside ours, which change without meaning

    @property
    def interval(self) -> float:
        return 0.0

    @property
    def keep_for(self) -> int:
        return self._settings.keep

    @property
    def stale(self) -> bool:
        return any(not life.known for life in self._lives.by_name.values())

    def discover(self, known: Mapping[str, Place]) -> Discovery:
        if not self._opened:
            self._opened, self._since = True, self._memory.at
        nothing_yet = self._memory.nothing_yet
        fresh = not known and not nothing_yet
        if not known:
            # Also asked to begin anew: then what was found earlier is read as it is now.
            self._lives.close()
        for partition, place in known.items():
            planned = None if place.planned == END else parse(place.planned)
            self._lives.tell(partition, planned)
        self._lives.known(known.keys())
        began = time.time_ns()
        since, self._since = self._since, None
        self._look(since if known or nothing_yet else None)
        new: dict[str, str] = {}
        for life in self._lives.by_name.values():
            if not life.known:
                if fresh and self._settings.start == "end":
                    life.position = self._end(life)
                new[life.partition] = str(life.position)
        self._memory.looked(began, nothing_yet=not known and (nothing_yet or not new))
        over: Sequence[str] = ()
        if time.monotonic() >= self._retire_at:
            self._retire_at = time.monotonic() + RETIRE
            over = self._lives.over()
        identity = f"files {self._settings.path}"
        return Discovery(identity=identity, partitions=new, over=over)

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        deadline = time.monotonic() + wait
        self._wants = {want.partition: want for want in wants}
        for want in wants:
            if want.position != END:
                self._lives.tell(want.partition, parse(want.position))
        for gone in self._lives.by_name.keys() - self._wants.keys():
            if self._lives.by_name[gone].known:
                self._lives.tell(gone, None)
        while True:
            self._notice()
            came = self._read()
            batches = self._batches()
            if batches:
                return batches
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            now = time.monotonic()
            if now >= deadline or self._context.stop.is_set() or self.stale:
                return []
            if not came:
                self._wait(min(deadline, self._next(now)) - now)

    def lag(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name, life in self._lives.by_name.items():
            lane = life.lane
            if lane is not None and life.known:
                unread = 0 if life.content is None or life.content.packed else life.size - lane.end
                found[name] = lane.waiting + int(max(0, unread) / lane.line_bytes)
        return found

    def split(self, run: RunRef) -> Sequence[Batch]:
        return self._packer.split(run)

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        return self._packer.keep(run)

    @property
    def payloads(self) -> Payloads:
        return self._packer.payloads

    def forget(self, inputs: Sequence[Mapping[str, JSON]]) -> None:
        self._packer.payloads.forget(inputs)

    def close(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        self._lives.close()
        self._packer.payloads.close()

    # -- looking ----------------------------------------------------------------------------

    def _look(self, since: int | None = None) -> None:
        watcher = self._watcher
        if watcher is None:
            watcher = self._watcher = Watcher()
        for _ in watcher.changes():
            pass  # what follows sees all of it
        self._look_at = 0.0
        look = self._lives.look(since)
        # A directory that came up a moment ago may have been filled before it was watched.
        complete = watcher.watch(look.walk.directories) and watcher.active
        self._look_at = time.monotonic() + (LOOK if complete else LOOK_BLIND)
        self._passed_over -= look.walk.files.keys()
        if any(self._searched(life) for life in self._lives.by_name.values()):
            self._look_at = time.monotonic() + _SEARCH
        self._complain(look)

    def _notice(self) -> None:
        """Find out what has changed."""
        again = self._watcher is None or time.monotonic() >= self._look_at
        changes = [] if self._watcher is None or again else list(self._watcher.changes())
        lives = {
            life.file.path: life
            for life in self._lives.by_name.values()
            if life.file is not None and not life.removed
        }
        for change in changes:
            path = f"{change.directory.rstrip('/')}/{change.name}"
            if change.mask & (OVERFLOW | IS_DIR) or not change.mask & _DATA:
                again = True
                self._passed_over.clear()
            elif path in lives:
                lives[path].changed = True
            elif path not in self._passed_over:
                again = True  # one that had no line yet
                self._passed_over.add(path)
        if again:
            self._look()

    def _complain(self, look: Look) -> None:
        """Say once what cannot be read; all the time where nothing else can be."""
        denied = dict(look.denied)
        for path, reason in look.walk.denied.items():
            denied[path] = SourceRefused(f"{printable(path)}: {reason}")
        news = [path for path in denied if path not in self._told]
        self._told = set(denied)
        if denied and (news or not look.walk.files):
            more = f" (and {len(denied) - 1} more)" if len(denied) > 1 else ""
            first = denied[news[0] if news else next(iter(denied))]
            self._failure = type(first)(f"{first}{more}")

    def _wait(self, seconds: float) -> None:
        if self._watcher is not None and seconds > 0:
            self._watcher.wait(seconds, self._context.stop)

    def _next(self, now: float) -> float:
        """When there is something to do without any change."""
        moments = [self._look_at]
        for life in self._lives.by_name.values():
            want = self._wants.get(life.partition)
            if want is None or want.room <= 0:
                continue
            if life.lane is not None and life.lane.due is not None:
                moments.append(life.lane.due)
            if not (life.at_birthplace and life.matched):
                quiet = (life.missing_since or life.quiet_since) + self._flush_after
                if quiet > now:
                    moments.append(quiet)
        return max(now + 0.005, min(moments))

    @property
    def _flush_after(self) -> float:
        return self._settings.flush_after / SECOND

    def _end(self, life: Life) -> Position:
        """Behind the last whole line."""
        assert life.content is not None
        size = life.size - life.size % 2 if self._settings.encoding == "utf-16" else life.size
        at = max(0, size - self._limits.line - TAIL)
        at -= at % 2
        data = life.content.read(at, size - at)
        found = first_line(data, self._form(life).encoding)
        if not found and at:
            return position(at + len(data), data)
        return position(at + found, data[:found]) if at + found else START

    # -- reading ----------------------------------------------------------------------------

    def _read(self) -> bool:
        """A chunk of each file that has more and whose runs have room. Whether any came."""
        came = False
        held = sum(life.lane.held for life in self._lives.by_name.values() if life.lane)
        for life in list(self._lives.by_name.values()):
            want = self._wants.get(life.partition)
            if want is None:
                continue
            try:
                lane = self._lane(life, want)
                if lane is None or not life.changed or life.content is None:
                    continue
                if held >= MEMORY:
                    lane.close()
                elif len(lane.pieces) <= want.room:
                    came |= self._read_on(life, lane)
            except Damaged as error:
                self._failure = SourceRefused(f"{place_of(life)}: {error}")
                life.changed = False
            except OSError as error:
                self._failure = fault(place_of(life), error)
                life.detach()
        return came

    def _lane(self, life: Life, want: Want) -> Lane | None:
        lane = life.lane
        if lane is not None and lane.until == want.until:
            lane.take_before(want.position)
            if lane.begin == want.position:
                return lane
        life.lane = None
        if life.content is None:
            life.position = parse(want.position)
            return None
        start = parse(want.position)
        before = max(0, start.offset - TAIL)
        tail = life.content.read(before, start.offset - before)
        if len(tail) < start.offset - before:
            life.changed = False
            self._failure = SourceRefused(
                f"{life.partition}: there is nothing at byte {start.offset} of"
                f" {printable(place_of(life))}; see `orch checkpoints set`"
            )
            return None
        life.position = start
        life.changed = True
        life.lane = Lane(
            start, tail, self._form(life), self._limits, text=want.position, until=want.until
        )
        return life.lane

    def _read_on(self, life: Life, lane: Lane) -> bool:
        assert life.content is not None
        size = CHUNK
        if lane.until is not None and lane.until != END:
            size = min(size, parse(lane.until).offset - lane.end)
        if size <= 0:
            life.changed = False
            return False
        now = time.monotonic()
        if life.content.packed:
            chunk = life.content.read(lane.end, size)
        else:
            # Together with what is before it, so that nothing else can be taken for it.
            tail = lane.tail
            block = life.content.read(lane.end - len(tail), len(tail) + size)
            if not block.startswith(tail):
                life.truncated = True
                life.detach()
                self._look_at = 0.0
                return True
            chunk = block[len(tail) :]
        if chunk:
            life.quiet_since = now
            lane.feed(chunk, now)
        life.changed = bool(chunk) if life.content.packed else len(chunk) == size
        life.size = max(life.size, lane.end)
        return life.changed

    def _form(self, life: Life) -> Form:
        encoding: str = self._settings.encoding
        if encoding == "utf-16":
            mark = life.content.read(0, 2) if life.content is not None else b""
            encoding = "utf-16-be" if mark == b"\xfe\xff" else "utf-16-le"
        return Form(format=self._settings.format, encoding=encoding, file=life.identity.label)

    # -- handing over -----------------------------------------------------------------------

    def _batches(self) -> list[Batch]:
        batches: list[Batch] = []
        now = time.monotonic()
        for life in list(self._lives.by_name.values()):
            want = self._wants.get(life.partition)
            if want is None or want.room <= 0:
                continue
            lane = life.lane
            over = self._over(life, now)
            if lane is not None:
                if over is not None:
                    lane.flush(now)
                    lane.close()
                if lane.due is not None and lane.due <= now:
                    lane.close()
                batches += [
                    self._packer.of(life, piece, want.generation)
                    for piece in lane.pieces[: want.room]
                ]
            left = len(lane.pieces) if lane is not None else 0
            if over and left < want.room:
                start = batches[-1].end if left else want.position
                batches.append(self._packer.ended(life, start, over))
        return batches

    def _searched(self, life: Life) -> bool:
        since = life.missing_since
        return since is not None and time.monotonic() - since < self._flush_after

    def _rotated(self, life: Life) -> bool:
        return not (life.at_birthplace and life.matched)

    def _over(self, life: Life, now: float) -> str | None:
        """Why a life is over; "" where it only has no more lines to wait for; None: it goes on."""
        if life.content is None:
            since = life.missing_since
            if since is None or now - since < self._flush_after:
                return None
            if life.truncated:
                return "truncated"
            long = now - since >= max(_GONE, self._flush_after)
            return "gone" if long and self._lives.successor(life) else None
        if life.changed or not self._rotated(life) or now - life.quiet_since < self._flush_after:
            return None
        if not life.content.whole:
            return None
        if life.removed:
            return "removed"
        return "" if life.matched or not self._lives.successor(life) else "rotated"
