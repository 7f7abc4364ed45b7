"""What is kept and shown of a dead range: a copy of its records, its one record, its expiry."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.abc import JSON
from connectors.kafka.cluster import TopicPartition
from connectors.kafka.reader import Chunk, Reader, Record, open_reader
from connectors.kafka.scan import scan
from connectors.kafka.settings import KafkaSettings
from connectors.storage import address, ndjson
from connectors.storage.batchfile import BatchFile, file_name
from connectors.storage.objects import part
from connectors.storage.stores import open_store
from connectors.streams import SourceContext
from connectors.times import HORIZON, key

_SHOWN = 1_000
"""Bytes of a key or a value that people see."""


@dataclass(frozen=True, kw_only=True)
class DeadRange:
    """A range whose run is dead, as far as the log still has it."""

    place: TopicPartition
    start: int
    end: int
    retention_ms: int | None
    """None: nothing expires."""


def keep(settings: KafkaSettings, context: SourceContext, dead: DeadRange) -> Mapping[str, JSON]:
    """What `StreamSource.keep` returns. Reads the range with a reader of its own."""
    connection = settings.connection(context.secrets)
    reader = open_reader(connection, settings.client, isolation=settings.isolation)
    file = None if settings.dead_letters is None else BatchFile(spool_dir=context.data_dir)
    try:
        first = _read(reader, dead, file, context)
        shown: dict[str, JSON] = {}
        if len(first) == 1:
            shown["record"] = described(first[0])
        if file is not None and settings.dead_letters is not None and file.count:
            shown["copy"] = _store(file, settings.dead_letters, context, dead)
        elif first and dead.retention_ms is not None and first[0].timestamp >= 0:
            expiry = (first[0].timestamp + dead.retention_ms) * 1000
            if expiry < HORIZON:
                shown["expires_at"] = key(expiry)
        return shown
    finally:
        reader.close()
        if file is not None:
            file.discard()


def described(record: Record) -> dict[str, JSON]:
    """A record for people: text as it is, other bytes in base64, both shortened."""
    shown: dict[str, JSON] = {"offset": record.offset}
    if 0 <= record.timestamp * 1000 < HORIZON:
        shown["timestamp"] = key(record.timestamp * 1000)
    for name, content in (("key", record.key), ("value", record.value)):
        shown |= _content(name, content)
    if record.headers:
        names = sorted({name for name, _ in record.headers})
        shown["headers"] = [name[:_SHOWN] for name in names[:_SHOWN]]
    return shown


def lines(chunk: Chunk) -> bytes:
    """The records of a chunk as NDJSON."""
    return ndjson.join(
        [
            ndjson.integers("offset", chunk.offsets()),
            ndjson.integers("timestamp", chunk.timestamps()),
            ndjson.contents("key", chunk.keys()),
            ndjson.headers("headers", chunk.headers()),
            ndjson.contents("value", chunk.values()),
        ]
    )


def _read(
    reader: Reader, dead: DeadRange, file: BatchFile | None, context: SourceContext
) -> list[Record]:
    """The first two records; all of them go into the file, if there is one."""
    first: list[Record] = []
    for chunk in scan(reader, dead.place, dead.start, dead.end, context.stop):
        wanted = 2 - len(first)
        first += [record for record, _ in zip(chunk.records(), range(wanted), strict=False)]
        if file is not None:
            file.add_lines(lines(chunk), len(chunk))
        elif len(first) == 2:
            break
    return first


def _store(file: BatchFile, to: str, context: SourceContext, dead: DeadRange) -> str:
    """The name is that of the range: the same one again is the same object."""
    finished = file.finish()
    parts = (context.trigger_uid, dead.place.topic, str(dead.place.partition))
    span = f"{dead.start}-{dead.end}"
    name = "/".join([*(part(one) for one in parts), span, file_name("none")])
    try:
        with open_store(address.parse(to)) as store:
            return store.put(name, finished.body).uri
    finally:
        finished.discard()


def _content(name: str, content: bytes | None) -> dict[str, JSON]:
    if content is None:
        return {name: None}
    cut = content[:_SHOWN]
    shortened: dict[str, JSON] = {f"{name}_size": len(content)} if len(cut) < len(content) else {}
    try:
        # A character that the cut has halved is left out.
        text = cut.decode(errors="ignore") if content.decode() else ""
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(cut).decode(), **shortened}
    return {name: text, **shortened}
