"""The connector ``at``: one or many instants to come, each once."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from connectors import zones
from connectors.abc import JSON, Overlap, Problem, Schedule, SettingsError, TimeConnector
from connectors.cron.settings import Times, Timezone
from connectors.fields import error
from connectors.moments import Moment, parse_moment, show
from connectors.times import key
from connectors.validation import shown, validate

_ZONED = re.compile(r"(?P<time>.*\S) +(?P<zone>[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)")
_MAX_PARAMETERS = 16 * 1024


def _parameters(value: object) -> object:
    try:
        size = len(json.dumps(value))
    except (TypeError, ValueError, RecursionError) as reason:
        raise error("the parameters are not JSON", "write keys with values") from reason
    if size > _MAX_PARAMETERS:
        raise error(
            f"the parameters have {size:,} characters",
            f"write at most {_MAX_PARAMETERS:,}, or name a file or an object in them",
        )
    return value


class AtSettings(BaseModel):
    """When, and with which parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: Times = Field(
        description="One time or a list of them: RFC 3339, or local in the zone that is written "
        "behind it, or in `timezone`.",
        examples=["2027-01-01 09:00 Europe/Rome", ["2027-01-01T08:00:00Z", "2027-02-01 09:00"]],
    )
    timezone: Timezone = Field(
        "UTC",
        description="IANA time zone of times that name none.",
        examples=["Europe/Rome"],
    )
    parameters: Annotated[dict[str, Any], BeforeValidator(_parameters)] = Field(
        default_factory=dict,
        description="Values for the job: `${{ parameters.NAME }}`.",
        examples=[{"table": "orders"}],
    )

    @model_validator(mode="after")
    def _times(self) -> AtSettings:
        problems: list[Problem] = []
        seen: dict[int, int] = {}
        for index, text in enumerate(self.when):
            place = f"when[{index}]"
            try:
                instant = self._moment(text)[0].instant
            except SettingsError as wrong:
                problems += [p._replace(path=place) for p in wrong.problems]
                continue
            if seen.setdefault(instant, index) != index:
                message = f"{text!r} is the same instant as when[{seen[instant]}], {key(instant)}"
                problems.append(Problem(place, message, "remove one of them"))
        if problems:
            raise SettingsError(problems)
        return self

    def moments(self) -> list[tuple[Moment, str]]:
        """The times as written, each with the zone in which it was."""
        return [self._moment(text) for text in self.when]

    def _moment(self, text: str) -> tuple[Moment, str]:
        match = _ZONED.fullmatch(text)
        if match is None:
            return parse_moment(text, self.timezone), self.timezone
        zone = match["zone"]
        if zone not in zones.names():
            near = zones.nearest(zone)
            raise error(
                f"{shown(zone)} is not a time zone",
                f"did you mean {near!r}?" if near else "write an IANA name such as Europe/Rome",
            )
        return parse_moment(match["time"], zone), zone


class AtSchedule(Schedule):
    """The instants of checked settings."""

    __slots__ = ("_marks", "_places", "_times", "_zone")

    def __init__(self, settings: AtSettings) -> None:
        moments = settings.moments()
        places = {m.instant: f"when[{index}]" for index, (m, _) in enumerate(moments)}
        self._times = sorted(places)
        self._places = places
        self._marks = {m.instant: (m.mark,) for m, _ in moments if m.mark is not None}
        zone_of = {m.instant: zone for m, zone in moments}
        self._zone = zone_of[self._times[0]]

    @property
    def timezone(self) -> str:
        return self._zone

    @property
    def jitter(self) -> int:
        return 0

    def next_after(self, instant: int) -> int | None:
        index = bisect_right(self._times, instant)
        return self._times[index] if index < len(self._times) else None

    def describe(self) -> str:
        first = f"{show(self._times[0], self._zone)} in {self._zone}"
        if len(self._times) == 1:
            return f"once, at {first}"
        return f"{len(self._times)} times, the first at {first}"

    def marks(self, due: int) -> tuple[str, ...]:
        return self._marks.get(due, ())

    def appointments(self) -> Sequence[tuple[str, int]]:
        return [(self._places[instant], instant) for instant in self._times]


class AtConnector(TimeConnector):
    """Due times that are listed, each with the same parameters."""

    kind: ClassVar[str] = "at"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "one or many times to come, each once, with parameters"
    settings_model: ClassVar[type[pydantic.BaseModel]] = AtSettings
    default_overlap: ClassVar[Overlap] = "allow"
    value_paths: ClassVar[frozenset[str]] = frozenset({"parameters.*"})

    def schedule(self, settings: Mapping[str, JSON]) -> AtSchedule:
        try:
            canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):  # not JSON: the check says what and where
            return AtSchedule(validate(AtSettings, settings))
        return _schedule(canonical)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Empty: time is one source, so times may change without a reset."""
        self.schedule(settings)
        return {}


@lru_cache(maxsize=4096)
def _schedule(canonical: str) -> AtSchedule:
    return AtSchedule(validate(AtSettings, json.loads(canonical)))
