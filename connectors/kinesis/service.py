"""Kinesis over boto3, which is loaded when the first question is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, cast

from connectors.aws.client import make_client
from connectors.kinesis import errors
from connectors.kinesis.client import Client, Page, Record, Shard, Stream
from connectors.kinesis.positions import Position
from connectors.kinesis.settings import KinesisSettings
from connectors.streams import SourceRefused

THREADS = 8
"""Threads, and with them connections, that one source uses at most."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {
    "TRIM_HORIZON": "TRIM_HORIZON",
    "at": "AT_SEQUENCE_NUMBER",
    "after": "AFTER_SEQUENCE_NUMBER",
    "time": "AT_TIMESTAMP",
}


class Service(Client):
    """The stream that the settings name."""

    def __init__(self, settings: KinesisSettings) -> None:
        self._settings = settings
        self._where = f"Kinesis at {settings.endpoint or settings.place or 'the default region'}"
        self._name: Mapping[str, str] = (
            {"StreamARN": settings.stream}
            if settings.stream.startswith("arn:")
            else {"StreamName": settings.stream}
        )
        self._lock = threading.Lock()
        self._made: Any = None

    def stream(self) -> Stream:
        answer = self._ask("describe_stream_summary", **self._name)
        summary = answer["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "DELETING":
            raise SourceRefused(f"the stream {self._settings.stream!r} is being deleted")
        return Stream(
            name=str(summary["StreamName"]),
            arn=str(summary["StreamARN"]),
            endpoint=str(self.boto_client().meta.endpoint_url),
            created=_ms(summary["StreamCreationTimestamp"]),
            retention=int(summary["RetentionPeriodHours"]) * 3_600_000,
            now=_clock(answer),
        )

    def shards(self, open_at: int | None = None) -> Sequence[Shard]:
        question: dict[str, Any] = dict(self._name)
        if open_at is not None:
            question["ShardFilter"] = {"Type": "AT_TIMESTAMP", "Timestamp": open_at / 1000}
        found: list[Shard] = []
        while True:
            answer = self._ask("list_shards", **question)
            found += [_shard(shard) for shard in answer.get("Shards", ())]
            token = answer.get("NextToken")
            if not token:
                return found
            question = {"NextToken": token}

    def iterator(self, shard: str, position: Position) -> str:
        question: dict[str, Any] = {"ShardId": shard, "ShardIteratorType": _KINDS[position.kind]}
        if position.kind == "time":
            question["Timestamp"] = position.number / 1000
        elif position.kind != "TRIM_HORIZON":
            question["StartingSequenceNumber"] = str(position.number)
        answer = self._ask("get_shard_iterator", shard=shard, **self._name, **question)
        return str(answer["ShardIterator"])

    def read(self, iterator: str, limit: int) -> Page:
        arn = {key: value for key, value in self._name.items() if key == "StreamARN"}
        answer = self._ask("get_records", shard="", ShardIterator=iterator, Limit=limit, **arn)
        return Page(
            records=[_record(record) for record in answer["Records"]],
            next=cast("str | None", answer.get("NextShardIterator")),
            behind=int(answer.get("MillisBehindLatest") or 0),
        )

    def close(self) -> None:
        with self._lock:
            client, self._made = self._made, None
        if client is not None:
            client.close()

    def _ask(self, operation: str, *, shard: str | None = None, **question: Any) -> Any:
        try:
            call: Callable[..., Any] = getattr(self.boto_client(), operation)
            return call(**question)
        except Exception as error:
            found = errors.translate(
                error, where=self._where, stream=self._settings.stream, shard=shard
            )
            if found is None:
                raise
            raise found from error

    def boto_client(self) -> Any:
        """boto3's client, which is made on first use."""
        with self._lock:
            if self._made is None:
                self._made = make_client(
                    "kinesis",
                    region=self._settings.place,
                    endpoint=self._settings.endpoint,
                    profile=self._settings.profile,
                    connections=THREADS,
                )
            return self._made


def _shard(shard: Mapping[str, Any]) -> Shard:
    numbers = shard["SequenceNumberRange"]
    last = numbers.get("EndingSequenceNumber")
    parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
    return Shard(
        name=str(shard["ShardId"]),
        parents=tuple(str(parent) for parent in parents if parent),
        last=None if last is None else int(last),
    )


def _record(record: Mapping[str, Any]) -> Record:
    return Record(
        int(record["SequenceNumber"]),
        _ms(record["ApproximateArrivalTimestamp"]),
        str(record.get("PartitionKey", "")),
        record["Data"],
    )


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _clock(answer: Mapping[str, Any]) -> int:
    """The service's time, which arrival times are compared with; ours may differ."""
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    try:
        moment = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        moment = datetime.now(UTC)
    return int(moment.timestamp()) * 1000
