"""The files of mode buffer: written by threads of their own, named by what is in them.

A name is made of the trigger, the topic, the partition and the range, so that writing a range again
after a crash replaces the same object; and of the partition's generation, so that a range that is
read again by command leaves the files of earlier runs alone. What is small travels within the job
instead.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from connectors.abc import JSON
from connectors.kafka.buffer_lane import Piece, Written
from connectors.kafka.cluster import TopicPartition
from connectors.kafka.settings import KafkaSettings
from connectors.storage import address
from connectors.storage.batchfile import BatchFile, FinishedFile, file_name
from connectors.storage.objects import ObjectStore, inline_source, part
from connectors.storage.stores import open_store
from connectors.streams import SourceContext, SourceError, SourceRefused

WRITERS = 4
"""Files that are written at the same time."""
_PREFIX = "data:application/octet-stream;base64,"


class Files:
    """The files of one trigger. `write` and `wait` belong to the thread that uses the source."""

    def __init__(self, settings: KafkaSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._name = file_name(settings.compression)
        self._target = f"/orch/{self._name}"
        self._opened: ObjectStore | None = None
        self._writers: ThreadPoolExecutor | None = None
        self.generations: dict[TopicPartition, int] = {}

    def write(self, place: TopicPartition, piece: Piece) -> None:
        """Begin to write a piece."""
        if self._writers is None:
            self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="kafka-buffer")
        self._store()  # opened here, by one thread
        piece.writing = self._writers.submit(self._write, place, piece.start, piece.end, piece)

    def finish(self, piece: Piece) -> bool:
        """Whether a piece is written now. Raises what went wrong; it has to be written again."""
        if piece.writing is not None and piece.writing.done():
            writing, piece.writing = piece.writing, None
            piece.written = writing.result()
            piece.blocks = []
        return piece.written is not None

    def put(
        self, place: TopicPartition, start: int, end: int, file: FinishedFile, *, of: str = ""
    ) -> Written:
        """Let a closed file be durable; its temporary parts are removed. ``of`` is the run whose
        half it is."""
        settings = self._settings
        try:
            uri = ""
            store = self._store()
            if file.size <= settings.inline_bytes:
                source = inline_source(file.content(), self._target)
            elif store is None:
                raise SourceRefused(
                    f"the {file.count} records of {place.topic}/{place.partition} from offset"
                    f" {start} on are a file of {file.size} bytes, and without `storage` at most"
                    f" {settings.inline_bytes} travel within a job: set `storage`"
                )
            else:
                stored = store.put(self._object(place, start, end, of), file.body)
                source, uri = store.source(stored, self._target), stored.uri
        finally:
            file.discard()
        values: dict[str, JSON] = {
            "count": file.count,
            "bytes": file.size,
            "uri": uri,
            "format": settings.format,
            "compression": settings.compression,
        }
        return Written(values=values, source=dict(source))

    def open(self, inputs: Sequence[Mapping[str, JSON]]) -> BinaryIO:
        """The file of a run, as it was written."""
        store = self._store()
        for source in inputs:
            content = _inline(source)
            if content is not None:
                return io.BytesIO(content)
            name = None if store is None else store.name_of(source)
            if store is not None and name is not None:
                return store.open(name)
        raise SourceRefused("the file of the run is not where `storage` points now")

    def forget(self, inputs: Iterable[Mapping[str, JSON]]) -> None:
        """Remove objects."""
        store = self._store()
        if store is not None:
            store.forget(inputs)

    def discard(self, pieces: Iterable[Piece]) -> None:
        """Remove the objects of pieces that no run has taken, as far as that is possible now."""
        sources = [
            piece.written.source
            for piece in pieces
            if piece.written is not None and not piece.handed
        ]
        try:
            self.forget(sources)
        except SourceError:
            return  # `sweep` finds them after the next start

    def sweep(self, place: TopicPartition, start: int, end: int | None) -> None:
        """Remove what lies from ``start`` on and ends at ``end`` or before: files that were written
        before a crash, and that no run has taken."""
        store = self._store()
        if store is None:
            return
        prefix = self._prefix(place)
        store.sweep(prefix)
        for name, first, last in _ranges(store, prefix):
            if first >= start and (end is None or last <= end):
                store.remove(name)

    def close(self) -> None:
        """Let go of threads and connections. What is being written is finished."""
        writers, self._writers = self._writers, None
        if writers is not None:
            writers.shutdown(cancel_futures=True)
        store, self._opened = self._opened, None
        if store is not None:
            store.close()

    def batch_file(self) -> BatchFile:
        """An empty file."""
        return BatchFile(
            compression=self._settings.compression, spool_dir=self._context.data_dir / "spool"
        )

    def _write(self, place: TopicPartition, start: int, end: int, piece: Piece) -> Written:
        file = self.batch_file()
        try:
            for number, block in enumerate(piece.blocks):
                file.add_lines(block, 0 if number else piece.count)
            finished = file.finish()
        except BaseException:
            file.discard()
            raise
        return self.put(place, start, end, finished)

    def _store(self) -> ObjectStore | None:
        if self._opened is None and self._settings.storage is not None:
            self._opened = open_store(address.parse(self._settings.storage))
        return self._opened

    def _object(self, place: TopicPartition, start: int, end: int, of: str) -> str:
        half = f"-{part(of)}" if of else ""
        return f"{self._prefix(place)}/{start}-{end}{half}/{self._name}"

    def _prefix(self, place: TopicPartition) -> str:
        generation = self.generations.get(place, 0)
        again = f"-{generation}" if generation else ""
        return f"{part(self._context.trigger_uid)}/{part(place.topic)}/{place.partition}{again}"


def _ranges(store: ObjectStore, prefix: str) -> Iterator[tuple[str, int, int]]:
    # A list before anything is removed from what it is made of.
    for name in list(store.list(prefix)):
        start, _, end = name.split("/")[-2].partition("-")
        if start.isdecimal() and end.isdecimal():
            yield name, int(start), int(end)


def _inline(source: Mapping[str, JSON]) -> bytes | None:
    match source:
        case {"Source": {"Type": "inline", "Params": {"URL": str(url)}}}:
            try:
                return base64.b64decode(url.removeprefix(_PREFIX), validate=True)
            except binascii.Error:
                return None
        case _:
            return None
