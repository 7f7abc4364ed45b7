"""The keys of a trigger file that belong to the Kafka connector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import Span, Whole, error
from connectors.kafka.buffer_settings import BufferSettings
from connectors.kafka.connection import CLIENT_ID, Connection, Flavour
from connectors.kafka.filter import Filter
from connectors.kafka.security import SecuritySettings
from connectors.kafka.start import Start
from connectors.storage import address
from connectors.times import DAY, MINUTE, SECOND
from connectors.validation import shown, validate

Mode: TypeAlias = Literal["range", "follow", "buffer"]

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_BROKER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})", re.ASCII)
_WORD = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_MAX_BROKERS = 100

# In which modes a key means anything; all others do in each. Of buffer's own: only in buffer.
_MODES: Mapping[str, tuple[Mode, ...]] = {
    **dict.fromkeys(BufferSettings.model_fields, ("buffer",)),
    "max_records": ("range", "buffer"),
    "min_records": ("range",),
    "max_wait": ("range",),
    "filter": ("range", "buffer"),
    "dead_letters": ("range",),
    "poll": ("range", "follow"),
    "life": ("follow",),
    "stall_after": ("follow",),
    "keep_warm": ("follow",),
    "idle_exit": ("follow",),
}


def _topic(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise error(
            f"{shown(name)} is not the name of a topic",
            "write up to 249 letters, digits, dots, - and _",
        )
    return name


def _brokers(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list | tuple):
        raise error(f"{shown(value)} is no list of brokers", "write host:9092, or several in [ ]")
    brokers = cast(list[object] | tuple[object, ...], value)
    if not 1 <= len(brokers) <= _MAX_BROKERS:
        raise error(f"there are {len(brokers)} brokers", f"write 1 to {_MAX_BROKERS} of them")
    for broker in brokers:
        match = _BROKER.fullmatch(broker) if isinstance(broker, str) else None
        if match is None or not 0 < int(match[1]) < 65_536:
            raise error(f"{shown(broker)} is not the address of a broker", "write host:9092")
    return brokers


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise error(f"{shown(text)} is not a plain word", "write up to 200 printable ASCII signs")
    return text


def _address(text: str) -> str:
    address.parse(text)
    return text


class KafkaSettings(BufferSettings):
    """Which topic, from where on, and how its partitions are handed to jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: Annotated[str, AfterValidator(_topic)] = Field(
        description="The topic. A trigger reads one; for more, register several.",
        examples=["logs"],
    )
    brokers: Annotated[
        tuple[str, ...],
        BeforeValidator(_brokers),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                ]
            }
        ),
    ] = Field(
        ("127.0.0.1:9092",),
        description="Brokers of the cluster, from which the others are learnt. Jobs get them as "
        "`kafka.brokers`, so write addresses that reach them from the nodes, too.",
        examples=["kafka-1:9092,kafka-2:9092", ["kafka-1:9092", "kafka-2:9092"]],
    )
    mode: Mode = Field(
        "range",
        description="`range`: jobs read a range of offsets themselves. `follow`: one job at a time "
        "consumes a partition for a while and commits. `buffer`: the orchestrator reads and hands "
        "files of records to jobs.",
        examples=["buffer"],
    )
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed",
        description="Whether records of open and aborted transactions are left out.",
        examples=["read_uncommitted"],
    )
    start: Start = Field(
        "earliest",
        description="Where a new trigger begins: `earliest` (the default, because it loses "
        "nothing), `latest`, an RFC 3339 time, or offsets by partition, where those not named "
        "begin at their earliest. Partitions that are added later are read from their beginning.",
        examples=["latest", "2026-03-29T01:00:00Z", {"0": 1500, "1": 0}],
    )
    max_records: Annotated[int, Whole(1, 10_000_000)] = Field(
        10_000, description="Offsets in one range or file, at most.", examples=[1_000]
    )
    min_records: Annotated[int, Whole(1, 10_000_000)] | None = Field(
        None,
        description="So many are enough for a range before `max_wait` is over. Without it only a "
        "full range goes before that.",
        examples=[500],
    )
    max_wait: Annotated[int, Span(high=DAY, zero=True)] = Field(
        SECOND,
        description="An incomplete range goes when its first record has been waiting that long; "
        "`0`: at once.",
        examples=["10s", 0],
        json_schema_extra={"default": "1s"},
    )
    poll: Annotated[int, Span(low=20_000, high=10 * MINUTE)] = Field(
        250_000,
        description="How often the ends of the partitions are asked for: one request to each "
        "broker.",
        examples=["1s"],
        json_schema_extra={"default": "250ms"},
    )
    on_lost: Literal["stop", "continue"] = Field(
        "stop",
        description="When retention has removed records before they were read: `stop` the "
        "partition until a person decides, or `continue` behind them. Loud either way.",
        examples=["continue"],
    )
    filter: Filter | None = Field(
        None,
        description="Only stretches in which a record matches make runs; the others are in the "
        "ledger as skipped. A range may hold others between the first and the last match.",
        examples=[{"key": "berlin"}, {"header": {"type": ["order", "refund"]}}],
    )
    dead_letters: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        description="Where the records of dead ranges are copied before retention removes them: "
        "a directory, a bucket, or IPFS.",
        examples=["/srv/orch/dead", "s3://bucket/dead"],
    )
    life: Annotated[int, Span(low=10 * SECOND, high=DAY)] = Field(
        15 * MINUTE,
        description="How long one job follows a partition before the next takes over.",
        examples=["1h"],
        json_schema_extra={"default": "15m"},
    )
    stall_after: Annotated[int, Span(low=5 * SECOND, high=DAY)] = Field(
        2 * MINUTE,
        description="A follower that has records before it, but commits nothing for that long, is "
        "replaced.",
        examples=["5m"],
        json_schema_extra={"default": "2m"},
    )
    keep_warm: bool = Field(
        False,
        description="Keep a follower on partitions that have nothing new, too.",
        examples=[True],
    )
    idle_exit: Annotated[int, Span(low=SECOND, high=DAY, zero=True)] = Field(
        MINUTE,
        description="A follower that sees nothing new for that long leaves; `0`: it stays. Jobs "
        "get it as `kafka.idle_exit`, in seconds; with `keep_warm` always 0.",
        examples=["30s", 0],
        json_schema_extra={"default": "1m"},
    )
    security: SecuritySettings = Field(
        SecuritySettings(sasl=None, tls=None),
        description="Users, passwords (by the names of secrets) and TLS.",
        examples=[{"tls": True}],
    )
    client_id: Annotated[str, AfterValidator(_word)] = Field(
        CLIENT_ID, description="What the brokers' logs and quotas call us.", examples=["orch-eu"]
    )
    rack: Annotated[str, AfterValidator(_word)] | None = Field(
        None,
        description="Where the orchestrator is: it reads from a replica there, if there is one.",
        examples=["eu-central-1a"],
    )
    client: Flavour = Field(
        "kafka-python",
        description="The library that speaks to the cluster; `confluent` reads far faster and "
        "needs the extra `kafka-fast`.",
        examples=["confluent"],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> KafkaSettings:
        problems = [
            Problem(
                name,
                f"`{name}` means nothing in mode {self.mode}",
                f"remove it, or write mode: {' or '.join(_MODES[name])}",
            )
            for name in sorted(self.model_fields_set)
            if self.mode not in _MODES.get(name, (self.mode,))
        ]
        if self.min_records is not None and self.min_records > self.max_records:
            message = f"{self.min_records} is more than max_records, {self.max_records}"
            problems.append(Problem("min_records", message, "write a smaller number"))
        if self.keep_warm and self.idle_exit and "idle_exit" in self.model_fields_set:
            message = "`keep_warm` keeps a follower that `idle_exit` lets go"
            problems.append(Problem("idle_exit", message, "remove one of them"))
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def committed_only(self) -> bool:
        """Whether reading ends at the last stable offset."""
        return self.isolation == "read_committed"

    def connection(self, secrets: Mapping[str, str]) -> Connection:
        """Raises SourceRefused when a secret is not there."""
        return Connection(
            brokers=self.brokers,
            client_id=self.client_id,
            rack=self.rack or "",
            sasl=self.security.open_sasl(secrets),
            tls=self.security.open_tls(secrets),
        )


def parse_settings(raw: Mapping[str, JSON]) -> KafkaSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(KafkaSettings, raw)
