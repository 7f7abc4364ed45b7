"""Runs of followed files: what they get, how they are halved, how a life is closed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from connectors.abc import JSON
from connectors.file.life import Life
from connectors.file.lines import Piece
from connectors.file.paths import Pattern, printable
from connectors.file.places import Position, parse
from connectors.file.settings import FileSettings
from connectors.payloads import Payloads, range_name
from connectors.streams import END, Batch, RunRef

_REASONS = {
    "gone": "closed: its file is there no more; what was in it behind this is not known",
    "truncated": "closed: the file was truncated, all of it had been read",
    "removed": "closed: the file was removed, all of it had been read",
    "rotated": "closed: the file was rotated away, all of it had been read",
}


class Packer:
    """Makes the batches of one trigger."""

    def __init__(self, settings: FileSettings, pattern: Pattern, trigger_uid: str) -> None:
        self._settings = settings
        self._pattern = pattern
        self.payloads = Payloads(trigger_uid, settings.storage, keep_for=settings.keep)

    def split(self, run: RunRef) -> Sequence[Batch]:
        """The two halves of a run; nothing where it is one line, or its content is gone."""
        content = self.payloads.content(run.inputs)
        file = run.values.get("file")
        lines = content.split(b"\n")[:-1] if content is not None else []
        if len(lines) < 2 or not isinstance(file, Mapping):
            return ()
        half = len(lines) // 2
        begin = parse(run.start)
        middle = Position(offset=begin.offset, tail=begin.tail, skip=begin.skip + half)
        if self._settings.format == "ndjson":
            middle = Position(offset=int(json.loads(lines[half])["offset"]))
        return [
            self._batch(
                run.partition,
                start,
                end,
                b"\n".join(part) + b"\n",
                len(part),
                file,
                run.run_id,
            )
            for start, end, part in (
                (run.start, str(middle), lines[:half]),
                (str(middle), run.end, lines[half:]),
            )
        ]

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        """What people see of a dead run: its line, if it is one."""
        match run.values.get("batch"):
            case {"count": 1}:
                content = self.payloads.content(run.inputs)
                if content is None:
                    return {}
                return {"record": {"line": content[:1024].decode(errors="replace").rstrip("\n")}}
            case _:
                return {}

    def ended(self, life: Life, start: str, why: str) -> Batch:
        """What closes a partition; `why` is one of the reasons above."""
        read = life.read_to()[0]
        lost = why == "truncated" and life.size > read
        if lost:
            unread = life.size - read
            reason = f"the file was truncated, and no copy holds the {unread} bytes from {read} on"
        else:
            reason = _REASONS[why]
        return Batch(
            partition=life.partition,
            start=start,
            end=END,
            count=None if lost else 0,
            outcome="lost" if lost else "skipped",
            reason=reason,
            values={"file": self._root(life)},
        )

    def of(self, life: Life, piece: Piece, generation: int) -> Batch:
        """The run for a piece. Its content is durable when this returns."""
        root = self._root(life) | {
            "start": piece.first,
            "end": piece.behind,
            "cut": piece.cut,
            "replaced": piece.replaced,
        }
        again = f"g{generation}" if generation else ""
        return self._batch(
            life.partition, piece.start, piece.end, piece.content, piece.count, root, again
        )

    def _batch(
        self,
        partition: str,
        start: str,
        end: str,
        content: bytes,
        count: int,
        root: Mapping[str, JSON],
        of: str,
    ) -> Batch:
        name = range_name(f"{partition}/{start}-{end}/{of}", time.time_ns() // 1000)
        inputs = self.payloads.pack(name, content)
        return Batch(
            partition=partition,
            start=start,
            end=end,
            count=count,
            values={
                "file": dict(root),
                "batch": {
                    "count": count,
                    "bytes": len(content),
                    "format": self._settings.format,
                },
            },
            inputs=inputs,
        )

    def _root(self, life: Life) -> dict[str, JSON]:
        label = life.identity.label
        return {
            "path": f"{self._pattern.root.rstrip('/')}/{label}",
            "name": label.rpartition("/")[2],
            "at": printable(place_of(life)),
        }


def place_of(life: Life) -> str:
    """Where the content of a life was seen last."""
    return life.identity.label if life.file is None else life.file.path
