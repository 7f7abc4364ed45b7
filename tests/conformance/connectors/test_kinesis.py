"""Records of Kinesis in both modes: the connector passes the kit."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.kinesis import KinesisConnector
from connectors.streams import Batch
from connectors.testing import Bad, StreamConformance, StreamHarness
from tests.conformance.connectors.conftest import REGION, Aws, numbers


class KinesisHarness(StreamHarness):
    connector = KinesisConnector()
    patience = 60.0

    def __init__(self, aws: Aws, mode: str, directory: Path) -> None:
        self.aws = aws
        self.mode = mode
        self.directory = directory
        self.kinesis = aws.client("kinesis")
        self.stream = f"kit-{next(numbers)}"
        self.kinesis.create_stream(StreamName=self.stream, ShardCount=1)

    def settings(self) -> Mapping[str, JSON]:
        given: dict[str, JSON] = {"stream": self.stream, "endpoint": self.aws.endpoint}
        given |= {"region": REGION, "poll": "200ms", "mode": self.mode, "max_records": 3}
        if self.mode == "range":
            return {**given, "max_wait": 0}
        return {**given, "max_age": "100ms", "storage": str(self.directory)}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"stream": "a b"}, "stream"),
            ({"region": "Frankfurt"}, "region"),
            ({"endpoint": "host"}, "endpoint"),
            ({"mode": "all"}, "mode"),
            ({"start": "soon"}, "start"),
            ({"max_records": 0}, "max_records"),
            ({"poll": "1ms"}, "poll"),
        ]

    def put(self, events: Sequence[str]) -> None:
        if events:
            entries = [{"Data": event.encode(), "PartitionKey": event} for event in events]
            self.kinesis.put_records(StreamName=self.stream, Records=entries)

    def read(self, batch: Batch) -> Sequence[str]:
        if self.mode == "buffer":
            lines = [line for source in batch.inputs for line in _content(source).splitlines()]
            return [json.loads(line)["value"] for line in lines]
        values: Any = batch.values["kinesis"]
        shard = {"StreamName": self.stream, "ShardId": values["shard"]}
        iterator = self.kinesis.get_shard_iterator(ShardIteratorType="TRIM_HORIZON", **shard)
        records = self.kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
        return [
            record["Data"].decode()
            for record in records
            if int(values["start"]) <= int(record["SequenceNumber"]) <= int(values["end"])
        ]

    def unreachable(self) -> Mapping[str, JSON]:
        return {**self.settings(), "stream": "absent"}


def _content(source: Mapping[str, JSON]) -> bytes:
    whole: Any = source["Source"]
    if whole["Type"] == "inline":
        return base64.b64decode(whole["Params"]["URL"].partition(",")[2])
    return Path(whole["Params"]["SourcePath"]).read_bytes()


class TestKinesis(StreamConformance):
    """Kind kinesis."""

    @pytest.fixture(params=["range", "buffer"])
    def harness(self, aws: Aws, tmp_path: Path, request: pytest.FixtureRequest) -> KinesisHarness:
        return KinesisHarness(aws, request.param, tmp_path / "files")
