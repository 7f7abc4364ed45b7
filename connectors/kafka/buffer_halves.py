"""What is made of the file of a run that fails: two files, and what people see of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import cast

from connectors.abc import JSON
from connectors.kafka.buffer_files import Files
from connectors.kafka.buffer_lane import Written, encoded, wanted
from connectors.kafka.buffer_settings import Compression
from connectors.kafka.cluster import TopicPartition
from connectors.kafka.letters import described
from connectors.kafka.reader import Chunk, Record, open_reader
from connectors.kafka.scan import scan
from connectors.kafka.settings import KafkaSettings
from connectors.storage import ndjson
from connectors.storage.batchfile import FinishedFile, reader, split
from connectors.streams import RunRef, SourceContext

Half = tuple[int, int, Written]


def halves(
    files: Files,
    settings: KafkaSettings,
    context: SourceContext,
    place: TopicPartition,
    run: RunRef,
) -> list[Half]:
    """The two halves of a run's records, each with its range and its durable file; nothing where
    it is one record.

    The file is halved where it tells which record is which. Bare values with gaps in their offsets,
    or with newlines in them, are read again from the topic.
    """
    batch, start, end = _batch(run), int(run.start), int(run.end)
    if batch is None:  # found after a restore: what its file held is still in the topic
        count = _count(settings, context, place, start, end)
    else:
        count = cast(int, batch["count"])
    if count < 2:
        return []
    found: tuple[int, FinishedFile, FinishedFile] | None = None
    if batch is not None and (batch["format"] == "ndjson" or count == end - start):
        compression = cast(Compression, batch["compression"])
        try:
            with files.open(run.inputs) as stream:
                made = split(
                    stream,
                    count=count,
                    compression=compression,
                    spool_dir=context.data_dir / "spool",
                )
            middle = start + count // 2
            if batch["format"] == "ndjson":
                middle = int(json.loads(made.boundary)["offset"])
            found = middle, made.first, made.second
        except ndjson.LineTooLong:
            raise
        except ValueError:
            found = None  # lines are not records
    if found is None:
        found = _again(files, settings, context, place, start, end, count)
    middle, first, second = found
    return [
        (start, middle, files.put(place, start, middle, first, of=run.run_id)),
        (middle, end, files.put(place, middle, end, second, of=run.run_id)),
    ]


def shown(files: Files, run: RunRef) -> Mapping[str, JSON]:
    """What people see of a dead run: where its file is, and its record if it is one."""
    batch = _batch(run)
    if batch is None:
        return {}
    told: dict[str, JSON] = {"copy": batch["uri"]} if batch["uri"] else {}
    if batch["count"] != 1:
        return told
    with (
        files.open(run.inputs) as stream,
        reader(stream, cast(Compression, batch["compression"])) as content,
    ):
        if batch["format"] == "values":
            value = content.read().removesuffix(b"\n")
            whole = described(Record(int(run.start), -1, None, value, ()))
            return told | {"record": {k: v for k, v in whole.items() if k != "key"}}
        line = json.loads(content.read())
    record = Record(
        line["offset"],
        line["timestamp"],
        ndjson.content_of(line, "key"),
        ndjson.content_of(line, "value"),
        [(name, None) for name, _ in line["headers"]],
    )
    return told | {"record": described(record)}


def _again(
    files: Files,
    settings: KafkaSettings,
    context: SourceContext,
    place: TopicPartition,
    start: int,
    end: int,
    count: int,
) -> tuple[int, FinishedFile, FinishedFile]:
    both = files.batch_file(), files.batch_file()
    middle, seen, half = end, 0, count // 2
    try:
        for chunk in _read(settings, context, place, start, end):
            parts = [chunk]
            if seen < half < seen + len(chunk):
                parts = list(chunk.split(half - seen))
            for part in parts:
                if len(part):
                    if seen == half:
                        middle = part.offsets()[0]
                    both[seen >= half].add_lines(encoded(part, settings.format), len(part))
                    seen += len(part)
        return middle, both[0].finish(), both[1].finish()
    except BaseException:
        for file in both:
            file.discard()
        raise


def _count(
    settings: KafkaSettings, context: SourceContext, place: TopicPartition, start: int, end: int
) -> int:
    return sum(map(len, _read(settings, context, place, start, end)))


def _read(
    settings: KafkaSettings, context: SourceContext, place: TopicPartition, start: int, end: int
) -> Iterator[Chunk]:
    """The records of a range that files have, once more."""
    source = open_reader(
        settings.connection(context.secrets), settings.client, isolation=settings.isolation
    )
    try:
        for chunk in scan(source, place, start, end, context.stop):
            yield chunk if settings.filter is None else wanted(chunk, settings.filter)
    finally:
        source.close()


def _batch(run: RunRef) -> Mapping[str, JSON] | None:
    return cast(Mapping[str, JSON] | None, run.values.get("batch"))
