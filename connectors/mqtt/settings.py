"""The keys of a trigger file that belong to the mqtt connector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from connectors.abc import JSON, Problem, SettingsError
from connectors.broker.address import Address, BrokerAddress, parse
from connectors.broker.security import SecuritySettings
from connectors.broker.topics import TopicFilter, TopicName
from connectors.fields import Span, Whole, error
from connectors.mqtt.filter import Filter
from connectors.payloads import INLINE_ALONE, MAX_STORED
from connectors.storage.fields import Storage
from connectors.times import DAY, MINUTE, SECOND
from connectors.validation import shown, validate

HOUR = 60 * MINUTE
_FIELD = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}", re.ASCII)
_CLIENT = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def _protocol(value: object) -> object:
    if value in ("5", "5.0") or (value == 5 and not isinstance(value, bool)):
        return "5"
    if value == "3.1.1":
        return "3.1.1"
    raise error(f"{shown(value)} is no version that is spoken", "write 5 or 3.1.1")


def _client(text: str) -> str:
    if _CLIENT.fullmatch(text):
        return text
    raise error(f"{shown(text)} is no client id", "write up to 128 letters, digits, . _ : and -")


class IdPlace(BaseModel):
    """Where a message carries its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    property_: str | None = Field(
        None,
        alias="property",
        min_length=1,
        max_length=200,
        description="The name of a user property (MQTT 5).",
        examples=["message-id"],
    )
    field: str | None = Field(
        None, description="A place in a body that is JSON.", examples=["id", "event.id"]
    )

    @model_validator(mode="after")
    def _one(self) -> IdPlace:
        if (self.property_ is None) == (self.field is None):
            raise error("an id stands in one place", "write either `property` or `field`")
        if self.field is not None and not _FIELD.fullmatch(self.field):
            remedy = "write names with dots between them, such as event.id"
            raise error(f"{shown(self.field)} is no place in a body", remedy, "field")
        return self


class WillSettings(BaseModel):
    """What the broker publishes for orch when it is gone without a word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: TopicName = Field(description="Where.", examples=["status/orch"])
    body: str = Field("", max_length=65_535, description="What.", examples=["offline"])
    qos: Annotated[int, Whole(0, 2)] = Field(1, description="With which QoS.")
    retain: bool = Field(False, description="Whether the broker keeps it for who comes later.")


class MqttSettings(BaseModel):
    """Which messages of which broker, and how they become runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: TopicFilter = Field(
        description="A topic, a filter with + and #, or a shared subscription.",
        examples=["sensors/+/temperature", "$share/orch/sensors/#"],
    )
    broker: BrokerAddress = Field(
        "mqtt://127.0.0.1:1883",
        description="Address of the broker; `mqtts://` for TLS.",
        examples=["mqtts://broker.example:8883"],
    )
    protocol: Annotated[
        Literal["5", "3.1.1"],
        BeforeValidator(_protocol),
        WithJsonSchema({"enum": ["5", 5, "3.1.1"]}),
    ] = Field("5", description="The version of MQTT that is spoken.", examples=["3.1.1"])
    qos: Annotated[int, Whole(0, 2)] = Field(
        1,
        description="The highest QoS of what is delivered. 0: messages are taken as they come, and "
        "lost while nobody listens.",
        examples=[2],
    )
    retained: Literal["skip", "take"] = Field(
        "skip",
        description="What becomes of messages that the broker has kept and sends because the "
        "subscription is new.",
    )
    id: IdPlace | None = Field(
        None,
        description="Where a message carries an id of its own, which makes it one run however "
        "often it is delivered. An id counts within its topic.",
        examples=[{"property": "message-id"}, {"field": "event.id"}],
    )
    dedup_window: Annotated[int, Span(low=MINUTE, high=30 * DAY)] = Field(
        DAY,
        description="How long after its run has ended an id that a message carries is still known.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )
    batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        100, description="Messages of a run at most.", examples=[1]
    )
    batch_window: Annotated[int, Span(high=HOUR, zero=True)] = Field(
        SECOND,
        description="A run that is not full goes this long after its first message came; 0: at "
        "once.",
        examples=["30s", 0],
        json_schema_extra={"default": "1s"},
    )
    batch_bytes: Annotated[int, Whole(1_000, MAX_STORED)] | None = Field(
        None,
        description=f"Bytes of a run at most. Without it {MAX_STORED}, or {INLINE_ALONE} where no "
        "`storage` is set.",
        examples=[1_000_000],
    )
    ack: Literal["on_intake", "on_success"] = Field(
        "on_intake",
        description="When the broker may forget a message: once it is in the ledger, or once its "
        "run has succeeded.",
    )
    max_inflight: Annotated[int, Whole(1, 65_535)] = Field(
        1000,
        description="Messages that the broker delivers before it hears that they have come (the "
        "receive maximum of MQTT 5). Brokers have a limit of their own, too.",
        examples=[200],
    )
    session_expiry: Annotated[int, Span(low=MINUTE, high=3650 * DAY)] = Field(
        7 * DAY,
        description="For how long the broker keeps messages while orch is away (MQTT 5; with 3.1.1 "
        "it is the broker's to say).",
        examples=["30d"],
        json_schema_extra={"default": "7d"},
    )
    keep_alive: Annotated[int, Span(low=5 * SECOND, high=HOUR)] = Field(
        30 * SECOND,
        description="How soon broker and orch notice that the other is gone, in whole seconds.",
        examples=["10s"],
        json_schema_extra={"default": "30s"},
    )
    client_id: Annotated[str, AfterValidator(_client)] | None = Field(
        None,
        description="The name of the session at the broker, where orch-INSTANCE-TRIGGER-UID cannot "
        "be used. Nobody else may use it.",
        examples=["orch-orders"],
    )
    body: Literal["text", "json"] = Field(
        "text",
        description="`text`: a task gets a message's body as a text. `json`: a body that is JSON "
        "as what it says; one that is not stays a text. What is no text is Base64 either way.",
    )
    filter: Filter | None = Field(
        None,
        description="Which messages are wanted; the others are acknowledged at once.",
        examples=[{"json": {"level": "alarm"}}],
    )
    will: WillSettings | None = Field(
        None,
        description="What the broker publishes when orch is gone without a word.",
        examples=[{"topic": "status/orch", "body": "offline", "retain": True}],
    )
    security: SecuritySettings = Field(
        SecuritySettings(user=None, password=None, tls=None),
        description="User, password (by the name of a secret) and TLS.",
        examples=[{"user": "orch", "password": {"secret": "MQTT_PASSWORD"}}],
    )
    storage: Storage | None = Field(
        None,
        description="Where messages go that are too large to travel within the job: a directory "
        "that the nodes share, a bucket, or IPFS.",
        examples=["/srv/orch/batches", "s3://bucket/batches?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long what lies in `storage` is kept once its run has ended.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> MqttSettings:
        problems = [
            *self._of_version(),
            *self._of_qos(),
            *self._of_sizes(),
            *self._of_tls(),
        ]
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def address(self) -> Address:
        """The broker."""
        return parse(self.broker)

    @property
    def limit(self) -> int:
        """Bytes of a run at most."""
        return self.batch_bytes or (INLINE_ALONE if self.storage is None else MAX_STORED)

    def _of_version(self) -> list[Problem]:
        if self.protocol == "5":
            return []
        found: list[Problem] = []
        if "session_expiry" in self.model_fields_set:
            message = "3.1.1 has no such setting: the broker's own counts"
            found.append(Problem("session_expiry", message, "leave it out, or write protocol: 5"))
        if self.id is not None and self.id.property_ is not None:
            message = "3.1.1 has no user properties"
            found.append(Problem("id.property", message, "write `field`, or protocol: 5"))
        if self.filter is not None and self.filter.property_:
            message = "3.1.1 has no user properties"
            found.append(Problem("filter.property", message, "leave it out, or write protocol: 5"))
        return found

    def _of_qos(self) -> list[Problem]:
        found: list[Problem] = []
        if self.qos == 0 and "ack" in self.model_fields_set:
            message = "messages of QoS 0 are not acknowledged"
            found.append(Problem("ack", message, "leave it out, or write qos: 1"))
        if "dedup_window" in self.model_fields_set and self.id is None:
            message = "does nothing where messages carry no id"
            found.append(Problem("dedup_window", message, "leave it out, or say where the `id` is"))
        if self.topic.startswith("$share/") and self.retained == "take":
            message = "a shared subscription gets no retained messages"
            found.append(Problem("retained", message, "leave it out"))
        return found

    def _of_sizes(self) -> list[Problem]:
        found: list[Problem] = []
        if self.storage is None and (self.batch_bytes or 0) > INLINE_ALONE:
            message = f"{self.batch_bytes} bytes do not travel within a job"
            remedy = f"set `storage`, or write at most {INLINE_ALONE}"
            found.append(Problem("batch_bytes", message, remedy))
        if self.storage is None and "keep" in self.model_fields_set:
            message = "does nothing without `storage`"
            found.append(Problem("keep", message, "leave it out, or set `storage`"))
        if "batch_size" in self.model_fields_set and self.batch_size > self.max_inflight:
            message = f"{self.batch_size} is more than max_inflight, {self.max_inflight}"
            found.append(Problem("batch_size", message, "write less, or a larger max_inflight"))
        for name in ("keep_alive", "session_expiry"):
            if cast(int, getattr(self, name)) % SECOND:
                message = "MQTT counts in whole seconds"
                found.append(Problem(name, message, "write a duration such as 30s"))
        return found

    def _of_tls(self) -> list[Problem]:
        if self.security.tls is None or self.address.tls:
            return []
        message = "does nothing with mqtt://"
        return [Problem("security.tls", message, "write broker: mqtts://…, or leave it out")]


def parse_settings(raw: Mapping[str, JSON]) -> MqttSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(MqttSettings, raw)
