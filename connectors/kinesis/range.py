"""Mode ``range``: the job reads the shard, from one sequence number to another."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.kinesis.client import Record
from connectors.kinesis.source import ShardSource, numbers
from connectors.streams import Batch, RunRef


class RangeSource(ShardSource):
    """Reads to learn sequence numbers, drops the values at once."""

    def kept(self, record: Record) -> Record:
        return _numbered(record)

    def batch(self, shard: str, start: str, end: str, records: Sequence[Record]) -> Batch:
        return Batch(
            partition=shard,
            start=start,
            end=end,
            count=len(records),
            values={
                "kinesis": self.values(shard, records),
                "batch": {"count": len(records)},
            },
            at=records[0].arrived * 1000,
        )

    def records_of(self, run: RunRef) -> Sequence[Record]:
        known = numbers(run)
        return self.between(run.partition, known[0], known[1], _numbered) if known else ()


def _numbered(record: Record) -> Record:
    return Record(record.sequence, record.arrived, "", b"")
