"""Reads exactly one range of a Kinesis shard, and writes one line of JSON about it.

    {"shard": "shardId-000000000000", "start": "4959…88", "end": "4959…02",
     "count": 98, "bytes": 19600}

`start` and `end` both are records of the range. `count` is how many records there were from the
one to the other, `bytes` the size of their values. Records that a producer library has put together
(KPL) count as the one record that they are in the shard.

Environment, beside what every task of orch gets (ORCH_RUN_ID, ORCH_ATTEMPT, ORCH_DEADLINE):

    KINESIS_STREAM       name of the stream, or its ARN
    KINESIS_SHARD, KINESIS_START, KINESIS_END
    KINESIS_ENDPOINT     address of the service; without it AWS's own in AWS_REGION
    AWS_REGION           and whatever else boto3 looks for, such as AWS_ACCESS_KEY_ID

Exit codes:

    0    the whole range was read
    1    the service says no: an unknown stream, a missing right
    2    a variable is missing or makes no sense
    64   the shard no longer holds all of the range: it is lost, and another attempt is of no use
    75   nobody answered, or not in time: another attempt may do it
"""

# pyright: basic, reportMissingTypeStubs=false
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

REFUSED, USAGE, LOST, TRY_AGAIN = 1, 2, 64, 75
DEFAULT_TIME = 300.0
"""Seconds to finish in where nobody has set ORCH_DEADLINE."""
PACE = 0.25
"""Seconds between two reads: all readers of a shard share five a second."""
THROTTLED = {"LimitExceededException", "ProvisionedThroughputExceededException", "Throttling"}


class Failed(Exception):
    """The task ends with this exit code; the text is for people."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True, kw_only=True)
class Range:
    """The records of a shard from `start` to `end`, both of them included."""

    stream: str
    shard: str
    start: int
    end: int

    @property
    def by_arn(self) -> bool:
        """Whether the stream is named by its ARN."""
        return self.stream.startswith("arn:")


@dataclass(kw_only=True)
class Tally:
    """What was in the range."""

    count: int = 0
    bytes: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Process one record: your own work goes here."""
        self.count += 1
        self.bytes += len(record["Data"])


def main(
    environment: Mapping[str, str],
    *,
    connect: Callable[[Mapping[str, str]], Any] | None = None,
    now: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Do it all; returns the exit code."""
    try:
        wanted, deadline = read_range(environment), read_deadline(environment, now())
        client = (connect or open_client)(environment)
        tally = Tally()
        try:
            read(client, wanted, tally, late=lambda: now() >= deadline, pause=pause)
        finally:
            client.close()
    except Failed as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.code
    named = {"shard": wanted.shard, "start": str(wanted.start), "end": str(wanted.end)}
    sys.stdout.write(json.dumps({**named, **vars(tally)}) + "\n")
    return 0


def read(
    client: Any,
    wanted: Range,
    tally: Tally,
    *,
    late: Callable[[], bool],
    pause: Callable[[float], None],
) -> None:
    """Add every record of the range to the tally. Raises Failed."""
    iterator, at = None, None
    while True:
        if late():
            raise Failed(TRY_AGAIN, f"not at record {wanted.end} by ORCH_DEADLINE")
        try:
            if iterator is None:
                iterator = open_iterator(client, wanted, at)
            named = {"StreamARN": wanted.stream} if wanted.by_arn else {}
            answer = client.get_records(ShardIterator=iterator, Limit=10_000, **named)
        except (BotoCoreError, ClientError) as error:
            iterator = judged(error, iterator)
            pause(4 * PACE)
            continue
        for record in answer["Records"]:
            number = int(record["SequenceNumber"])
            if at is None and number != wanted.start:
                # An iterator for a record that has expired stands at the oldest one there is.
                raise Failed(LOST, f"lost: the shard begins at {number}, behind {wanted.start}")
            if number <= wanted.end:
                tally.add(record)
            at = number
            if number >= wanted.end:
                return
        iterator = answer.get("NextShardIterator")
        # An empty answer says nothing, unless there is nothing up to the tip of the shard.
        if iterator is None or not (answer["Records"] or answer.get("MillisBehindLatest")):
            raise Failed(LOST, f"lost: the shard ends before record {wanted.end}")
        pause(PACE)


def open_iterator(client: Any, wanted: Range, at: int | None) -> str:
    """An iterator at the start of the range, or behind the record `at`."""
    answer = client.get_shard_iterator(
        **{"StreamARN" if wanted.by_arn else "StreamName": wanted.stream},
        ShardId=wanted.shard,
        ShardIteratorType="AT_SEQUENCE_NUMBER" if at is None else "AFTER_SEQUENCE_NUMBER",
        StartingSequenceNumber=str(wanted.start if at is None else at),
    )
    return str(answer["ShardIterator"])


def judged(error: Exception, iterator: str | None) -> str | None:
    """The iterator to go on with after an error, None for a fresh one. Raises Failed."""
    if not isinstance(error, ClientError):
        raise Failed(TRY_AGAIN, str(error)) from error
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "ExpiredIteratorException":
        return None
    if code in THROTTLED:
        return iterator
    if code == "ResourceNotFoundException" and "Shard " in str(error):
        raise Failed(LOST, f"lost: {error}") from error
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    raise Failed(TRY_AGAIN if status >= 500 else REFUSED, str(error)) from error


def open_client(environment: Mapping[str, str]) -> Any:
    """Kinesis. Raises Failed."""
    try:
        return boto3.session.Session().client(
            "kinesis",
            region_name=environment.get("AWS_REGION") or None,
            endpoint_url=environment.get("KINESIS_ENDPOINT") or None,
            config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2}),
        )
    except (BotoCoreError, ValueError) as error:
        raise Failed(USAGE, f"KINESIS_…: {error}") from error


def read_range(environment: Mapping[str, str]) -> Range:
    """The range that the environment names. Raises Failed."""
    wanted = Range(
        stream=required(environment, "KINESIS_STREAM"),
        shard=required(environment, "KINESIS_SHARD"),
        start=whole(environment, "KINESIS_START"),
        end=whole(environment, "KINESIS_END"),
    )
    if wanted.start > wanted.end:
        raise Failed(USAGE, "KINESIS_END: the range ends before it starts")
    return wanted


def read_deadline(environment: Mapping[str, str], now: float) -> float:
    """When to give up, in seconds since the epoch. Raises Failed."""
    text = environment.get("ORCH_DEADLINE")
    if not text:
        return now + DEFAULT_TIME
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise Failed(USAGE, f"ORCH_DEADLINE: {text!r} is not a time in RFC 3339") from error


def whole(environment: Mapping[str, str], name: str) -> int:
    """A variable that is a whole number. Raises Failed."""
    text = required(environment, name)
    if not (text.isascii() and text.isdecimal() and len(text) < 130):
        raise Failed(USAGE, f"{name}: {text[:60]!r} is not a sequence number")
    return int(text)


def required(environment: Mapping[str, str], name: str) -> str:
    """A variable that must be there. Raises Failed."""
    value = environment.get(name, "").strip()
    if not value:
        raise Failed(USAGE, f"{name} is not set")
    return value


if __name__ == "__main__":
    sys.exit(main(os.environ))
