"""Turns what boto3 raises into the exceptions of this connector, with words for people."""

from __future__ import annotations

from connectors.aws import errors
from connectors.aws.errors import THROTTLED, Throttled, answer_of
from connectors.kinesis.client import IteratorExpired, ShardGone
from connectors.streams import SourceError, SourceRefused

_RIGHTS = "kinesis:DescribeStreamSummary, ListShards, GetShardIterator and GetRecords"


def translate(
    error: Exception, *, where: str, stream: str, shard: str | None
) -> SourceError | IteratorExpired | ShardGone | None:
    """The exception that says the same; None for one that is a fault of this program.

    `shard` is set when the question was about one shard: its name, or "" for an iterator.
    """
    answer = answer_of(error)
    if answer is None:
        return errors.translate(error, where=where, rights=_RIGHTS)
    if answer.code in THROTTLED:
        return Throttled(f"{where} slows down reads of {stream!r}: {answer.code}")
    if answer.code == "ExpiredIteratorException":
        return IteratorExpired(answer.said)
    if answer.code == "ResourceNotFoundException" and shard is not None:
        return ShardGone(answer.said)
    if answer.code == "ResourceNotFoundException":
        return SourceRefused(
            f"{where} has no stream {stream!r}: check its name, `region` and `endpoint`"
        )
    return errors.answered(answer, where=where, rights=_RIGHTS)
