"""Bytes of a file become lines, and lines become batches. Pure.

A line ends at a newline, and nowhere else. What a run gets is UTF-8: other encodings are
translated, and what cannot be read becomes U+FFFD.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal, TypeAlias

from connectors.file.places import TAIL, Position, position
from connectors.file.texts import REPLACED, bare, repaired
from connectors.storage import ndjson

Format: TypeAlias = Literal["lines", "ndjson"]
Encoding: TypeAlias = Literal["utf-8", "latin-1", "utf-16"]

_RESERVED = 1024  # bytes of an encoded line beside its text
_WORST = 6  # bytes that JSON makes of one


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When lines are cut and batches are closed."""

    lines: int
    bytes: int
    """Of the content, as a run gets it."""
    line: int
    """Bytes of one line, as they stand in the file."""
    window: float
    """Seconds since the first line was read."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How lines are read and written."""

    format: Format
    encoding: str
    """``utf-8``, ``latin-1``, ``utf-16-le`` or ``utf-16-be``."""
    file: str
    """What is written as the file's name."""


@dataclass(kw_only=True)
class Piece:
    """Lines that are closed: what one run is for."""

    start: str
    end: str
    first: int
    """Offsets of its first byte and behind its last one."""
    behind: int
    count: int
    content: bytes
    cut: int
    """Lines that were longer than they may be."""
    replaced: int
    """Places at which bytes could not be read."""


@dataclass(kw_only=True)
class _Open:
    start: str
    first: int
    behind: int
    tail: bytes
    since: float = 0.0
    count: int = 0
    size: int = 0
    cut: int = 0
    replaced: int = 0
    blocks: list[bytes] = field(default_factory=list[bytes])


class Lane:
    """The content of one life, from a position on. Fed in order."""

    def __init__(
        self,
        start: Position,
        tail: bytes,
        form: Form,
        limits: Limits,
        *,
        text: str | None = None,
        until: str | None = None,
    ) -> None:
        """`tail` is what is right before `start`, `text` the position as it was written; at
        `until` a batch ends exactly, and nothing is read beyond."""
        self._form = form
        self._limits = limits
        self._width = 2 if form.encoding.startswith("utf-16") else 1
        self._newline = "\n".encode(form.encoding)
        self._skip = start.skip
        self._until = until
        self._partial = b""
        self._dropped = 0  # bytes of the partial line that are not in `_partial`
        self._carry = b""  # half a character
        self._average = 0.0
        self._open = _Open(
            start=str(start) if text is None else text,
            first=start.offset,
            behind=start.offset,
            tail=tail[-TAIL:],
        )
        self.tail = tail[-TAIL:]
        """The last bytes that were read."""
        self.end = start.offset
        """As far as the file has been read."""
        self.pieces: list[Piece] = []
        """Closed and not taken yet, oldest first."""

    @property
    def begin(self) -> str:
        """Where the oldest piece that is not taken begins, or the next one will."""
        return self.pieces[0].start if self.pieces else self._open.start

    @property
    def until(self) -> str | None:
        """Where it has to stop."""
        return self._until

    @property
    def partial(self) -> bool:
        """Whether the last line that was read has no end yet."""
        return self._line_bytes > 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        own = len(self._partial) + self._open.size
        return own + sum(len(piece.content) for piece in self.pieces)

    @property
    def waiting(self) -> int:
        """Whole lines that are in no batch that was taken."""
        return self._open.count + sum(piece.count for piece in self.pieces)

    @property
    def due(self) -> float | None:
        """When what is gathered has waited long enough; None: nothing is gathered."""
        return self._open.since + self._limits.window if self._open.count else None

    @property
    def line_bytes(self) -> float:
        """Of one line, lately."""
        return self._average or 100.0

    @property
    def _line_bytes(self) -> int:
        return len(self._partial) + self._dropped + len(self._carry)

    def take_before(self, begin: str) -> None:
        """Forget the pieces before a position that is the beginning of one, or of what follows."""
        starts = [piece.start for piece in self.pieces]
        if begin in starts:
            del self.pieces[: starts.index(begin)]
        elif begin == self._open.start:
            self.pieces.clear()

    def feed(self, chunk: bytes, now: float) -> None:
        """Take in what follows in the file."""
        raw, at = self.tail + chunk, self.end - len(self.tail)
        data, base = self._carry + chunk, self.end - len(self._carry)
        self.end += len(chunk)
        self.tail = raw[-TAIL:]
        whole = len(data) - len(data) % self._width
        data, self._carry = data[:whole], data[whole:]
        if self._dropped:
            found = self._find(data)
            if found < 0:
                self._dropped += len(data)
                return
            length = len(self._partial) + self._dropped + found
            head, self._partial, self._dropped = self._partial, b"", 0
            behind = base + found + self._width
            self._add([head], [length], behind, raw, at, now)
            data, base = data[found + self._width :], behind
        elif self._partial:
            data, base = self._partial + data, base - len(self._partial)
        lines = self._split(data)
        rest = lines.pop()
        if len(rest) > self._limits.line:
            self._partial = rest[: self._limits.line]
            self._dropped = len(rest) - len(self._partial)
        else:
            self._partial = rest
        if lines:
            lengths = list(map(len, lines))
            self._add(lines, lengths, base + len(data) - len(rest), raw, at, now)

    def flush(self, now: float) -> None:
        """The partial line is a line, because no more will come."""
        length = self._line_bytes
        if not length:
            return
        line = self._partial + (b"" if self._dropped else self._carry)
        self._partial, self._carry, self._dropped = b"", b"", 0
        self._newline, before = b"", self._newline
        self._add([line], [length], self.end, self.tail, self.end - len(self.tail), now)
        self._newline = before

    def close(self) -> None:
        """Close what is gathered, if anything is."""
        done = self._open
        if done.behind == done.first:
            return
        end = str(position(done.behind, done.tail))
        if self._until is not None and done.behind == _offset(self._until):
            end = self._until
        piece = Piece(
            start=done.start,
            end=end,
            first=done.first,
            behind=done.behind,
            count=done.count,
            content=b"".join(done.blocks),
            cut=done.cut,
            replaced=done.replaced,
        )
        self.pieces.append(piece)
        self._open = _Open(start=end, first=done.behind, behind=done.behind, tail=done.tail)

    def _add(
        self,
        lines: Sequence[bytes],
        lengths: Sequence[int],
        behind: int,
        raw: bytes,
        raw_at: int,
        now: float,
    ) -> None:
        """Gather whole lines: `lengths` are their true ones, `behind` is the offset behind the last
        newline; `raw` are bytes of the file from `raw_at` on in which all of them end."""
        newline = len(self._newline)
        ends = list(accumulate(map(newline.__add__, lengths)))
        base = behind - ends[-1]
        done = min(self._skip, len(lines))
        self._skip -= done
        if done:
            self._passed(base + ends[done - 1], raw, raw_at)
        while done < len(lines):
            gathered = self._open
            room = self._limits.bytes - gathered.size
            some = min(self._limits.lines - gathered.count, self._guess(room, lines, done))
            to = min(len(lines), done + max(1, some))
            first = base + (ends[done - 1] if done else 0)
            starts = [first] * (to - done)
            if self._form.format == "ndjson":
                starts = [first, *map(base.__add__, ends[done : to - 1])]
            out, cut, replaced = self._written(lines[done:to], lengths[done:to], starts)
            sizes = list(accumulate(map((1).__add__, map(len, out))))
            fit = bisect_right(sizes, room)
            if fit == 0 and gathered.count:
                self.close()
                continue
            if fit < len(out):
                to = done + max(1, fit)
                starts = starts[: to - done]
                out, cut, replaced = self._written(lines[done:to], lengths[done:to], starts)
            if not gathered.count:
                gathered.since = now
            block = b"\n".join(out) + b"\n"
            gathered.blocks.append(block)
            gathered.count += len(out)
            gathered.size += len(block)
            gathered.cut += cut
            gathered.replaced += replaced
            self._average = len(block) / len(out)
            done = to
            self._passed(base + ends[done - 1], raw, raw_at)
            full = gathered.count >= self._limits.lines or gathered.size >= self._limits.bytes
            if full or fit < len(sizes):
                self.close()
        if self._until is not None and self._open.behind == _offset(self._until):
            self.close()

    def _passed(self, offset: int, raw: bytes, raw_at: int) -> None:
        self._open.behind = offset
        end = offset - raw_at
        self._open.tail = raw[max(0, end - TAIL) : end]

    def _guess(self, room: int, lines: Sequence[bytes], start: int) -> int:
        """About how many lines have room for so many bytes, and rather more."""
        average = self._average
        if not average:
            sample = lines[start : start + 100]
            average = sum(map(len, sample)) / len(sample) + 1
        return int(room / max(1.0, average) * 1.1) + 1

    def _written(
        self, lines: Sequence[bytes], lengths: Sequence[int], starts: Sequence[int]
    ) -> tuple[Sequence[bytes], int, int]:
        """Lines as a run gets them, without newlines; how many were cut; what was replaced."""
        most = self._limits.line
        cuts: list[int] | None = None
        if max(lengths) > most:
            cuts = [max(0, length - most) for length in lengths]
            lines = [line[:most] for line in lines]
        texts, replaced = self._texts(lines, starts[0] == 0)
        out = self._formatted(texts, cuts, starts)
        if max(map(len, out)) >= self._limits.bytes:
            cuts = cuts or [0] * len(lines)
            out = [
                line if len(line) < self._limits.bytes else self._shorter(texts, cuts, starts, at)
                for at, line in enumerate(out)
            ]
        return out, sum(1 for cut in cuts or () if cut), replaced

    def _shorter(
        self, texts: Sequence[bytes], cuts: list[int], starts: Sequence[int], at: int
    ) -> bytes:
        """A line of which too much is made, cut so far that it fits whatever is in it."""
        keep = max(0, (self._limits.bytes - _RESERVED) // _WORST)
        short = texts[at][:keep].decode(errors="ignore").encode()
        cuts[at] += len(texts[at]) - len(short)
        return self._formatted([short], [cuts[at]], [starts[at]])[0]

    def _texts(self, lines: Sequence[bytes], first: bool) -> tuple[Sequence[bytes], int]:
        """Lines in UTF-8."""
        encoding = self._form.encoding
        if encoding == "utf-8":
            try:
                b"\n".join(lines).decode()
            except UnicodeDecodeError:
                return repaired(lines)
            return lines, 0
        texts = [line.decode(encoding, errors="replace") for line in lines]
        replaced = 0
        if self._width == 2:
            mark = REPLACED.encode(encoding)
            replaced = sum(
                text.count(REPLACED) - line.count(mark)
                for text, line in zip(texts, lines, strict=True)
                if REPLACED in text
            )
            if first:
                texts[0] = texts[0].removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        return [text.encode(errors="replace") for text in texts], max(0, replaced)

    def _formatted(
        self, texts: Sequence[bytes], cuts: Sequence[int] | None, starts: Sequence[int]
    ) -> Sequence[bytes]:
        if cuts is not None and not any(cuts):
            cuts = None
        if self._form.format == "lines":
            if cuts is None:
                return texts
            return [
                text + f" [… {cut} bytes cut]".encode() if cut else text
                for text, cut in zip(texts, cuts, strict=True)
            ]
        columns = [
            ndjson.integers("offset", starts),
            ndjson.Column(head=f'"file":{json.dumps(self._form.file)}'),
            ndjson.contents("line", bare(texts, starts[0] == 0)),
        ]
        if cuts is not None:
            columns.append(ndjson.integers("cut", cuts))
        return ndjson.join(columns)[:-1].split(b"\n")

    def _split(self, data: bytes) -> list[bytes]:
        """The lines of data, and last what has no end yet."""
        if self._width == 1:
            return data.split(b"\n")
        lines: list[bytes] = []
        at = 0
        while (found := self._find(data, at)) >= 0:
            lines.append(data[at:found])
            at = found + self._width
        lines.append(data[at:])
        return lines

    def _find(self, data: bytes, at: int = 0) -> int:
        found = data.find(self._newline, at)
        while found >= 0 and found % self._width:
            found = data.find(self._newline, found + 1)
        return found


def _offset(text: str) -> int:
    digits = text.partition(":")[0].partition(".")[0]
    return int(digits) if digits.isdecimal() else -1
