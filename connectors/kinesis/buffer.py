"""Mode ``buffer``: the orchestrator reads, and hands the job a file of records.

An object's name is made of trigger, stream, shard and sequence numbers, so that a batch that is
written again after a crash is the same object.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, cast

from connectors.abc import JSON
from connectors.kinesis.client import Client, Record
from connectors.kinesis.clock import Clock
from connectors.kinesis.lane import TooLarge
from connectors.kinesis.settings import KinesisSettings
from connectors.kinesis.source import ShardSource, numbers
from connectors.payloads import INLINE_ALONE, INLINE_BESIDE
from connectors.storage import address, batchfile, ndjson
from connectors.storage.objects import ObjectGone, ObjectStore, inline_source, part
from connectors.storage.stores import open_store
from connectors.streams import Batch, RunRef, SourceContext


class BufferSource(ShardSource):
    """Keeps records in memory until their file is written."""

    def __init__(
        self,
        settings: KinesisSettings,
        context: SourceContext,
        client: Client,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(settings, context, client, clock)
        self._store: ObjectStore | None = (
            open_store(address.parse(settings.storage)) if settings.storage else None
        )
        self._inline = INLINE_BESIDE if settings.storage else INLINE_ALONE
        self._target = f"/orch/{batchfile.file_name(settings.compression)}"

    def kept(self, record: Record) -> Record:
        return record

    def batch(self, shard: str, start: str, end: str, records: Sequence[Record]) -> Batch:
        finished = self._file(records)
        try:
            source, uri = self._placed(shard, records, finished)
        finally:
            finished.discard()
        return Batch(
            partition=shard,
            start=start,
            end=end,
            count=len(records),
            values={
                "kinesis": self.values(shard, records),
                "batch": {
                    "count": len(records),
                    "bytes": finished.size,
                    "uri": uri,
                    "format": self.settings.format,
                    "compression": self.settings.compression,
                },
            },
            inputs=[source],
            at=records[0].arrived * 1000,
        )

    def records_of(self, run: RunRef) -> Sequence[Record]:
        match run.values.get("batch"):
            # The file outlives the records of the stream, but bare values do not tell numbers.
            case {"format": "ndjson", "compression": str(compression)}:
                try:
                    return self._read_again(run, cast(batchfile.Compression, compression))
                except ObjectGone:
                    pass
            case _:
                pass
        known = numbers(run)
        return self.between(run.partition, known[0], known[1]) if known else ()

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        kept = dict(super().keep(run))
        match run.values.get("batch"):
            case {"uri": str(uri)} if uri:
                kept["copy"] = uri
            case _:
                pass
        return kept

    def forget(self, inputs: Sequence[Mapping[str, JSON]]) -> None:
        if self._store is not None:
            self._store.forget(inputs)

    @property
    def keep_for(self) -> int:
        return self.settings.keep

    def close(self) -> None:
        super().close()
        if self._store is not None:
            self._store.close()

    def _file(self, records: Sequence[Record]) -> batchfile.FinishedFile:
        file = batchfile.BatchFile(
            compression=self.settings.compression, spool_dir=self.context.data_dir / "spool"
        )
        if self.settings.format == "values":
            file.add_values([record.data for record in records])
        else:
            columns = [
                ndjson.texts("sequence", [str(record.sequence) for record in records]),
                ndjson.integers("timestamp", [record.arrived for record in records]),
                ndjson.texts("key", [record.key for record in records]),
                ndjson.contents("value", [record.data for record in records]),
            ]
            file.add_lines(ndjson.join(columns), len(records))
        return file.finish()

    def _placed(
        self, shard: str, records: Sequence[Record], finished: batchfile.FinishedFile
    ) -> tuple[Mapping[str, JSON], str]:
        """The input source of a file, and the address of its object, if it is one."""
        if finished.size <= self._inline:
            return inline_source(finished.content(), self._target), ""
        if self._store is None:
            raise TooLarge(
                f"the record {records[0].sequence} of {shard} takes {finished.size} bytes, and"
                f" {INLINE_ALONE} fit into a job: set `storage`"
            )
        generation = self.generations.get(shard, 0)
        again = f"-{generation}" if generation else ""
        numbered = f"{records[0].sequence}-{records[-1].sequence}{again}"
        place = (self.context.trigger_uid, self.settings.name, shard, numbered)
        name = "/".join([*map(part, place), batchfile.file_name(self.settings.compression)])
        stored = self._store.put(name, finished.body)
        return self._store.source(stored, self._target), stored.uri

    def _read_again(self, run: RunRef, compression: batchfile.Compression) -> list[Record]:
        with batchfile.reader(self._opened(run), compression) as content:
            return [_parsed(line) for line in ndjson.lines(content)]

    def _opened(self, run: RunRef) -> BinaryIO:
        for source in run.inputs:
            name = self._store.name_of(source) if self._store is not None else None
            if self._store is not None and name is not None:
                return self._store.open(name)
            match source.get("Source"):
                case {"Type": "inline", "Params": {"URL": str(url)}}:
                    return io.BytesIO(base64.b64decode(url.partition(",")[2]))
                case _:
                    pass
        raise ObjectGone(f"run {run.run_id} has no file")


def _parsed(line: bytes) -> Record:
    record = cast(dict[str, Any], json.loads(line))
    return Record(
        int(record["sequence"]),
        int(record["timestamp"]),
        str(record["key"]),
        ndjson.content_of(record, "value") or b"",
    )
