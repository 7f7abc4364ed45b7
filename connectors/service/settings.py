"""The keys of a trigger file that belong to the service connector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from connectors import durations
from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import Span, Whole, error
from connectors.services import Backoff, Scale, ServicePlan
from connectors.times import DAY, SECOND
from connectors.validation import shown, validate

IMAGE = "orch/service:1"
MINUTE = 60 * SECOND
_COPIES = 1000
_LEASES = 3  # heartbeats that may be missed where no lease is set
_LEAST_BEAT = 500_000  # µs: all copies' heartbeats come to one orchestrator
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", re.ASCII)
_TRIGGER = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def _image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise error(f"{shown(text)} is not the name of an image", "write it as in `docker run`")
    return text


def _trigger(text: str) -> str:
    if not _TRIGGER.fullmatch(text):
        raise error(f"{shown(text)} is not the name of a trigger", "write a name as in `name:`")
    return text


def _target(value: object) -> object:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    if not 0.001 <= number <= 1e12:
        remedy = "write how much there is for one copy, such as 1000"
        raise error(f"{shown(value)} is not a number above 0", remedy)
    return value


class BackoffSettings(BaseModel):
    """The pauses between lives that end too soon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    initial: Annotated[int, Span(low=100_000, high=DAY)] = Field(
        SECOND,
        description="The first pause; it doubles with every life that ends too soon.",
        json_schema_extra={"default": "1s"},
    )
    max: Annotated[int, Span(low=100_000, high=DAY)] = Field(
        5 * MINUTE, description="The longest pause.", json_schema_extra={"default": "5m"}
    )
    healthy_after: Annotated[int, Span(low=SECOND, high=DAY)] = Field(
        MINUTE,
        description="A life that lasted so long is a good one: after it no pause grows.",
        json_schema_extra={"default": "1m"},
    )


class ScaleSettings(BaseModel):
    """How many copies there are, by what waits for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Annotated[int, Whole(0, _COPIES)] = Field(0, description="At least so many.")
    max: Annotated[int, Whole(1, _COPIES)] = Field(description="At most so many.")
    on: Literal["lag", "rate"] = Field(
        "lag",
        description="`lag`: the events of a trigger that are in no run yet, and its runs that "
        "wait. `rate`: its runs of the last minute, a second.",
    )
    of: Annotated[str, AfterValidator(_trigger)] = Field(description="The name of that trigger.")
    target: Annotated[float, BeforeValidator(_target)] = Field(
        description="How much of it is for one copy."
    )
    down_after: Annotated[int, Span(high=DAY, zero=True)] = Field(
        MINUTE,
        description="Fewer copies once fewer have been enough for so long; more at once.",
        json_schema_extra={"default": "1m"},
    )


class ServiceSettings(BaseModel):
    """How many copies there are, how long each job lives, and how it shows that it is well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copies: Annotated[int, Whole(0, _COPIES)] = Field(
        1, description="How many copies there are.", examples=[3]
    )
    life: Annotated[int, Span(low=10 * SECOND, high=DAY)] = Field(
        15 * MINUTE,
        description="How long one job of a copy lives; the next one follows it.",
        examples=["1h"],
        json_schema_extra={"default": "15m"},
    )
    heartbeat: Annotated[int | None, Span(low=_LEAST_BEAT, high=10 * MINUTE, word="none")] = Field(
        10 * SECOND,
        description="How often a task says that it is well; `none`: it says nothing, and is well "
        "for as long as its job runs.",
        examples=["30s", "none"],
        json_schema_extra={"default": "10s"},
    )
    lease: Annotated[int, Span(low=SECOND, high=DAY)] | None = Field(
        None,
        description="A task that is not heard for so long is replaced, and one that hears nothing "
        f"for so long ends itself. Without it {_LEASES} heartbeats.",
        examples=["1m"],
    )
    update: Literal["start_first", "stop_first"] = Field(
        "start_first",
        description="When the trigger has changed: the new copy is started, and the old one "
        "stopped once it is well; or the old one is stopped first.",
    )
    backoff: BackoffSettings = Field(
        BackoffSettings.model_validate({}),
        description="How long a copy waits whose lives end too soon.",
        examples=[{"initial": "1s", "max": "5m", "healthy_after": "1m"}],
    )
    scale: ScaleSettings | None = Field(
        None,
        description="As many copies as the work of another trigger asks for, in place of `copies`.",
        examples=[{"min": 0, "max": 5, "of": "orders", "target": 1000}],
    )
    image: Annotated[str, AfterValidator(_image)] = Field(
        IMAGE,
        description="What `${{ service.image }}` stands for: the default job runs it.",
        examples=["registry.example.com/worker:3"],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> ServiceSettings:
        problems = [*self._beats(), *self._numbers()]
        if problems:
            raise SettingsError(problems)
        return self

    def _beats(self) -> list[Problem]:
        if self.heartbeat is None:
            if self.lease is None:
                return []
            return [Problem("lease", "means nothing without a heartbeat", "leave it out")]
        problems: list[Problem] = []
        if self.lease is not None and self.lease < 2 * self.heartbeat:
            message = f"{durations.show(self.lease)} is less than two heartbeats"
            problems.append(Problem("lease", message, "write a longer one: one may be lost"))
        if (self.lease or _LEASES * self.heartbeat) > self.life:
            message = f"{durations.show(self.life)} is shorter than the lease"
            problems.append(Problem("life", message, "write a longer one"))
        return problems

    def _numbers(self) -> list[Problem]:
        problems: list[Problem] = []
        if self.backoff.initial > self.backoff.max:
            message = f"{durations.show(self.backoff.initial)} is more than `max`"
            problems.append(Problem("backoff.initial", message, "write a shorter one"))
        if self.scale is not None:
            if "copies" in self.model_fields_set:
                message = "`scale` says how many copies there are"
                problems.append(Problem("copies", message, "remove one of them"))
            if self.scale.min > self.scale.max:
                message = f"{self.scale.min} is more than max, {self.scale.max}"
                problems.append(Problem("scale.min", message, "write a smaller number"))
        return problems

    @property
    def plan(self) -> ServicePlan:
        """What is asked for."""
        scale: Any = None
        if self.scale is not None:
            scale = Scale(**self.scale.model_dump())
        return ServicePlan(
            copies=self.copies,
            life=self.life,
            heartbeat=self.heartbeat,
            lease=self.lease or _LEASES * (self.heartbeat or 0),
            update=self.update,
            backoff=Backoff(**self.backoff.model_dump()),
            scale=scale,
            values={"image": self.image},
        )


def parse_settings(raw: Mapping[str, JSON]) -> ServiceSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(ServiceSettings, raw)
