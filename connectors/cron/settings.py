"""The keys of a trigger file that belong to the cron connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from connectors import durations, zones
from connectors.abc import JSON, Problem, SettingsError
from connectors.cron import expression
from connectors.fields import Duration
from connectors.moments import Moment, parse_moment
from connectors.times import DAY, key
from connectors.validation import shown, validate

MIN_EVERY = 100_000
MAX_EVERY = 3650 * DAY
MAX_JITTER = DAY
MAX_TIMES = 10_000


def _expression(text: str) -> str:
    expression.parse(text)
    return text


def _timezone(name: str) -> str:
    if name in zones.names():
        return name
    near = zones.nearest(name)
    raise _error(
        "",
        f"{shown(name)} is not a time zone",
        f"did you mean {near!r}?" if near else "write an IANA name such as Europe/Berlin, or UTC",
    )


def _times(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        count = len(cast(list[object], value))
        if not 1 <= count <= MAX_TIMES:
            remedy = f"write 1 to {MAX_TIMES}; for more, register several triggers"
            raise _error("", f"the list has {count} entries", remedy)
    return cast(object, value)


Timezone = Annotated[str, AfterValidator(_timezone)]
Times = Annotated[
    tuple[str, ...],
    BeforeValidator(_times),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "maxItems": MAX_TIMES,
                },
            ]
        }
    ),
]


class CronSettings(BaseModel):
    """When a cron trigger is due: exactly one of ``schedule``, ``every`` and ``at``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"oneOf": [{"required": [n]} for n in ("schedule", "every", "at")]},
    )

    schedule: Annotated[str, AfterValidator(_expression)] | None = Field(
        None,
        description="Five-field cron expression as in Debian's crontab, or @hourly, @daily, "
        "@midnight, @weekly, @monthly, @yearly, @annually; read in `timezone`.",
        examples=["0 2 * * *", "*/5 8-18 * * mon-fri", "@daily"],
    )
    every: Duration | None = Field(
        None,
        description="Even interval from 100ms on, not touched by clock changes. Counted from "
        "`start`, or without one from 1970-01-01T00:00:00Z, so that restarts do not shift it.",
        examples=["200ms", "15s", "1h30m"],
    )
    at: Times | None = Field(
        None,
        description="One time or a list of them, RFC 3339 or local in `timezone`.",
        examples=["2026-03-29T01:00:00Z", ["2026-03-29 03:00", "2026-04-01 03:00:30"]],
    )
    timezone: Timezone = Field("UTC", description="IANA time zone.", examples=["Europe/Berlin"])
    start: str | None = Field(
        None,
        description="Nothing is due before it. RFC 3339, a local time, or a date.",
        examples=["2026-01-01", "2026-01-01T08:00:00+01:00"],
    )
    end: str | None = Field(
        None,
        description="Nothing is due from it on (exclusive). RFC 3339, a local time, or a date.",
        examples=["2027-01-01"],
    )
    jitter: Duration = Field(
        0,
        description="Firing is late by a part of this, always the same for one trigger; due "
        "times and keys stay. At most one day, and at most `every`.",
        examples=["5m"],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> CronSettings:
        problems = [*self._one_kind(), *self._ranges(), *self._moments()]
        if problems:
            raise SettingsError(problems)
        return self

    def moments(self) -> list[Moment]:
        """The times of ``at``, as written; empty without one."""
        return [parse_moment(text, self.timezone) for text in self.at or ()]

    def bound(self, text: str | None) -> int | None:
        """The instant of ``start`` or ``end`` in microseconds."""
        if text is None:
            return None
        return parse_moment(text, self.timezone, dates=True).instant

    def _one_kind(self) -> list[Problem]:
        given = [name for name in ("schedule", "every", "at") if getattr(self, name) is not None]
        if not given:
            return [Problem("", "nothing says when", "write one of `schedule`, `every` and `at`")]
        if len(given) > 1:
            return [
                Problem(
                    given[1],
                    f"{' and '.join(given)} are given together",
                    "keep one of them; for several schedules, register several triggers",
                )
            ]
        return []

    def _ranges(self) -> list[Problem]:
        problems: list[Problem] = []
        if self.every is not None and not MIN_EVERY <= self.every <= MAX_EVERY:
            problems.append(
                Problem(
                    "every",
                    f"{durations.show(self.every)} is outside 100 ms to 3650 days",
                    "write a longer interval, or let one job do more"
                    if self.every < MIN_EVERY
                    else "write a date in `schedule` or `at`",
                )
            )
        limit = MAX_JITTER if self.every is None else min(self.every, MAX_JITTER)
        if self.jitter > limit:
            problems.append(
                Problem(
                    "jitter",
                    f"{durations.show(self.jitter)} is longer than {durations.show(limit)}",
                    f"write at most {durations.show(limit).replace(' ', '').replace('min', 'm')}",
                )
            )
        return problems

    def _moments(self) -> list[Problem]:
        problems: list[Problem] = []
        seen: dict[int, int] = {}
        for index, text in enumerate(self.at or ()):
            try:
                instant = parse_moment(text, self.timezone).instant
            except SettingsError as error:
                problems += [p._replace(path=f"at[{index}]") for p in error.problems]
                continue
            if seen.setdefault(instant, index) != index:
                message = f"{text!r} is the same instant as at[{seen[instant]}], {key(instant)}"
                problems.append(Problem(f"at[{index}]", message, "remove one of them"))
        bounds: dict[str, int] = {}
        for name, text in (("start", self.start), ("end", self.end)):
            try:
                instant = self.bound(text)
            except SettingsError as error:
                problems += [p._replace(path=name) for p in error.problems]
            else:
                if instant is not None:
                    bounds[name] = instant
        start, end = bounds.get("start", 0), bounds.get("end")
        if end is not None and end <= start:
            message = f"{key(end)} is not after the start, {key(start)}"
            problems.append(Problem("end", message, "write a later end or an earlier start"))
        return problems


def parse_settings(raw: Mapping[str, JSON]) -> CronSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(CronSettings, raw)


def _error(path: str, message: str, remedy: str) -> SettingsError:
    return SettingsError([Problem(path, message, remedy)])
