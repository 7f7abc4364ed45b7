"""Types that the settings of several connectors share: what people write, checked with a remedy.

Each raises :class:`connectors.abc.SettingsError` with one problem, relative to its field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from connectors import durations
from connectors.abc import Problem, SettingsError
from connectors.validation import shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECRET = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_TIME = "write RFC 3339 with an offset, such as 2026-03-29T01:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Span:
    """Marks an ``int`` of microseconds that people write as a duration, within bounds."""

    low: int = 0
    high: int | None = None
    zero: bool = False
    """Whether ``0`` may stand without a unit, whatever ``low`` is."""
    word: str = ""
    """A word that may stand in its place and is then `None`, such as ``none``."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        text = {"type": "string", "pattern": durations.PATTERN}
        others = [{"const": 0}] * self.zero + [{"const": self.word}] * bool(self.word)
        return {"anyOf": [text, *others]} if others else text

    def _read(self, value: object) -> int | None:
        if self.word and value == self.word:
            return None
        if self.zero and value == 0 and isinstance(value, int) and not isinstance(value, bool):
            return 0
        span = _duration(value)
        if self.zero and span == 0:
            return 0
        if span < self.low:
            raise error(
                f"{durations.show(span)} is too short",
                f"write at least {_written(self.low)}{', or 0' if self.zero else ''}",
            )
        if self.high is not None and span > self.high:
            raise error(
                f"{durations.show(span)} is too long", f"write at most {_written(self.high)}"
            )
        return span


Duration = Annotated[int, Span()]
"""Microseconds, written as ``200ms``, ``10s``, ``5m``, ``1h30m``, ``7d``."""


@dataclass(frozen=True)
class Whole:
    """Marks an ``int`` within bounds."""

    low: int
    high: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def _read(self, value: object) -> int:
        bounds = f"{self.low:_} to {self.high:_}"
        if not isinstance(value, int) or isinstance(value, bool):
            raise error(f"{shown(value)} is not a whole number", f"write {bounds}")
        if not self.low <= value <= self.high:
            raise error(f"{shown(value)} is not within {bounds}", "write a number within them")
        return value


class SecretName(BaseModel):
    """A secret by its name: ``{secret: NAME}``. Its value never stands in a trigger file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str


def _secret(value: object) -> object:
    # The value itself is never shown: it may be the secret, written where its name belongs.
    if isinstance(value, SecretName):
        return value
    if not isinstance(value, dict):
        remedy = "write {secret: NAME} and set ORCH_SECRET_NAME"
        raise error("a secret stands in the file", remedy)
    name = cast(dict[object, object], value).get("secret")
    if isinstance(name, str) and _SECRET.fullmatch(name):
        return cast(object, value)
    remedy = "write {secret: NAME}: a letter, then letters, digits and _"
    raise error("the secret has no name that can be used", remedy)


Secret = Annotated[SecretName, BeforeValidator(_secret)]


def reveal(name: SecretName, secrets: Mapping[str, str]) -> str:
    """The value behind a name. Raises ``LookupError`` with words for people, when there is none."""
    value = secrets.get(name.secret)
    if value is None:
        raise LookupError(
            f"there is no secret {name.secret!r}: set ORCH_SECRET_{name.secret} or put its file"
            " into the directory of secrets"
        )
    return value


def rfc3339(text: str) -> int:
    """The instant of an RFC 3339 time, in microseconds since 1970."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as reason:
        raise error(f"{shown(text)} is not a time", _TIME) from reason
    if moment.tzinfo is None:
        raise error(f"{shown(text)} has no offset from UTC", _TIME)
    try:
        instant = (moment - _EPOCH) // timedelta(microseconds=1)
    except OverflowError as reason:
        raise error(f"{shown(text)} is out of range", "write a time from 1970 on") from reason
    if instant < 0:
        raise error(f"{shown(text)} is before 1970", "write a later time")
    return instant


def error(message: str, remedy: str, path: str = "") -> SettingsError:
    """One problem, as an exception."""
    return SettingsError([Problem(path, message, remedy)])


def _duration(value: object) -> int:
    if isinstance(value, str):
        try:
            return durations.parse(value)
        except ValueError as reason:
            raise error(str(reason), "write it as 200ms, 10s, 5m, 1h30m or 7d") from reason
    plain = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9
    example = f"{cast(int, value)}s" if plain else "10s"
    raise error(f"{shown(value)} has no unit", f"write {example}, in quotes or plain")


def _written(span: int) -> str:
    return durations.show(span).replace(" ", "").replace("min", "m")
