"""Reads the policies of a trigger file, and writes them back as a file would state them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast
from urllib.parse import urlsplit

from specs._document import Document
from specs._durations import duration, format_duration
from specs._policies import (
    MINUTE,
    ON_DEAD,
    OVERLAPS,
    SECOND,
    Callback,
    OnDead,
    Overlap,
    Policies,
    Retry,
)
from specs._problems import Path, Problem, collect, quoted, suggestion
from specs._shapes import describe, is_list, is_mapping

_CALLBACKS = ("on_success", "on_failure", "on_abort")
POLICY_KEYS = (
    *(field.name for field in fields(Policies) if field.name not in _CALLBACKS),
    "callbacks",
)
"""Top-level keys of a trigger file that are policies; the rest is the connector's."""

_MAX_TIMEOUT = 30 * 24 * 60 * MINUTE
_DEFAULT = Policies()


class PolicyReader:
    """Reads policies and adds what is wrong to `problems`; the result is then not to be used."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self.document = document
        self.problems = problems

    def add(self, path: Path, message: str, remedy: str) -> None:
        collect(self.problems, self.document.problem(path, message, remedy))

    def read(self) -> Policies:
        """Read every policy at the document's top level."""
        data = self.document.data
        allowed_overlap, on_dead = self.word("overlap", OVERLAPS), self.word("on_dead", ON_DEAD)
        return Policies(
            overlap=cast(Overlap | None, allowed_overlap),
            catch_up=self.catch_up(),
            catch_up_limit=self.whole(data, ("catch_up_limit",), None, 1, 1_000_000),
            timeout=self.span(data, ("timeout",), _DEFAULT.timeout, 1, _MAX_TIMEOUT),
            queue_timeout=self.span(
                data, ("queue_timeout",), _DEFAULT.queue_timeout, 0, _MAX_TIMEOUT
            ),
            stop_grace=self.span(data, ("stop_grace",), _DEFAULT.stop_grace, 0, 60 * MINUTE),
            retry=self.retry(),
            on_dead=cast(OnDead | None, on_dead),
            parallelism=self.whole(data, ("parallelism",), 1, 1, 10_000) or 1,
            max_in_flight=self.whole(data, ("max_in_flight",), None, 1, 100_000),
            trip_after=self.whole(data, ("trip_after",), None, 1, 100_000),
            rate=self.rate(),
            priority=self.whole(data, ("priority",), 0, -1_000_000, 1_000_000) or 0,
            allow_shell_data=self.flag("allow_shell_data"),
            allow_static_secrets=self.flag("allow_static_secrets"),
            paused=self.flag("paused"),
            **self.callbacks(),
        )

    def word(self, key: str, words: tuple[str, ...]) -> str | None:
        given = self.document.data.get(key)
        if key not in self.document.data or (isinstance(given, str) and given in words):
            return given
        remedy = (
            suggestion(given, words)
            if isinstance(given, str)
            else f"Write one of {', '.join(words)}"
        )
        self.add((key,), f"{quoted(given)} is no {key} policy", remedy)
        return None

    def flag(self, key: str) -> bool:
        given = self.document.data.get(key, False)
        if isinstance(given, bool):
            return given
        self.add((key,), f"must be true or false, not {describe(given)}", "Write true or false")
        return False

    def whole(
        self, data: Mapping[str, Any], path: Path, default: int | None, least: int, most: int
    ) -> int | None:
        key = str(path[-1])
        if key not in data:
            return default
        given = data[key]
        if isinstance(given, bool) or not isinstance(given, int):
            self.add(path, f"must be a whole number, not {describe(given)}", "Write digits only")
        elif not least <= given <= most:
            message = f"{given} is outside {least:,} to {most:,}"
            self.add(path, message, f"Write {max(least, min(given, most))}")
        else:
            return given
        return default

    def span(self, data: Mapping[str, Any], path: Path, default: int, least: int, most: int) -> int:
        key = str(path[-1])
        if key not in data:
            return default
        try:
            value = duration(data[key])
        except ValueError as error:
            message, _, remedy = str(error).partition(". ")
            self.add(path, message, remedy)
            return default
        if not least <= value <= most:
            shown = "longer than 0" if least <= 1 else f"at least {format_duration(least)}"
            message = f"{data[key]} is outside what is allowed"
            self.add(path, message, f"It must be {shown} and at most {format_duration(most)}")
            return default
        return value

    def catch_up(self) -> Any:
        data = self.document.data
        if "catch_up" not in data:
            return None
        if data["catch_up"] == "none":
            return "none"
        return self.span(data, ("catch_up",), 0, 0, 366 * 24 * 60 * MINUTE)

    def rate(self) -> float | None:
        data = self.document.data
        if "rate" not in data:
            return None
        given = data["rate"]
        if isinstance(given, bool) or not isinstance(given, int | float):
            message = f"must be a number of runs per second, not {describe(given)}"
            self.add(("rate",), message, "Write 10, or 0.5 for one every two seconds")
        elif not 0.000_01 <= given <= 100_000:
            self.add(("rate",), f"{given} is outside 0.00001 to 100,000", "Write runs per second")
        else:
            return float(given)
        return None

    def retry(self) -> Retry:
        given = self.document.data.get("retry", {})
        if not self.keys(("retry",), given, ("max_attempts", "max_age", "backoff")):
            return Retry()
        backoff = given.get("backoff", {})
        if not self.keys(("retry", "backoff"), backoff, ("initial", "max", "factor")):
            return Retry()
        path = ("retry", "backoff")
        max_age = None
        if "max_age" in given:
            most = 366 * 24 * 60 * MINUTE
            max_age = self.span(given, ("retry", "max_age"), 0, SECOND, most)
        initial = self.span(backoff, (*path, "initial"), SECOND, 0, 24 * 60 * MINUTE)
        maximum = self.span(backoff, (*path, "max"), 5 * MINUTE, 0, 24 * 60 * MINUTE)
        if maximum < initial:
            message = "the longest wait is shorter than the first one"
            remedy = f"Write backoff.max as at least {format_duration(initial)}"
            self.add((*path, "max") if "max" in backoff else (*path, "initial"), message, remedy)
        factor = backoff.get("factor", 2)
        if (
            isinstance(factor, bool)
            or not isinstance(factor, int | float)
            or not 1 <= factor <= 100
        ):
            message = f"must be a number from 1 to 100, not {describe(factor)}"
            self.add((*path, "factor"), message, "Write 2 to double each wait")
            factor = 2
        return Retry(
            max_attempts=self.whole(given, ("retry", "max_attempts"), 5, 1, 1_000) or 5,
            max_age=max_age,
            initial=initial,
            maximum=maximum,
            factor=float(factor),
        )

    def keys(self, path: Path, given: object, known: tuple[str, ...]) -> bool:
        if not is_mapping(given):
            message = f"must be a mapping, not {describe(given)}"
            self.add(path, message, f"Write its keys below it: {', '.join(known)}")
            return False
        for key in given:
            if key not in known:
                self.add((*path, key), f"unknown key {quoted(key)}", suggestion(key, known))
        return True

    def callbacks(self) -> dict[str, Any]:
        given = self.document.data.get("callbacks", {})
        result: dict[str, Any] = {}
        if self.keys(("callbacks",), given, _CALLBACKS):
            for event in _CALLBACKS:
                if event in given:
                    value = given[event]
                    path = ("callbacks", event)
                    several = value if is_list(value) else [value]
                    found = [
                        self.callback(item, (*path, index) if is_list(value) else path)
                        for index, item in enumerate(several)
                    ]
                    result[event] = tuple(item for item in found if item is not None)
        return result

    def callback(self, given: object, path: Path) -> Callback | None:
        if not self.keys(path, given, ("url", "trigger")) or not is_mapping(given):
            return None
        values = [value for key, value in given.items() if key in ("url", "trigger")]
        if len(values) != 1 or not isinstance(values[0], str) or not values[0]:
            self.add(
                path, "needs one of url and trigger", "Write {url: https://…} or {trigger: name}"
            )
            return None
        if "trigger" in given:
            return Callback(trigger=values[0])
        if not is_web_address(values[0]):
            message = f"{quoted(values[0])} is not an http or https address"
            self.add((*path, "url"), message, "Write it as https://host/path, without a password")
            return None
        return Callback(url=values[0])


def is_web_address(text: str) -> bool:
    """Whether a callback may go there: http or https, without a password."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and parts.username is None and text.isprintable() and " " not in text


def policies_to_json(policies: Policies) -> dict[str, Any]:
    """Write the policies that differ from the defaults as a trigger file states them."""
    result: dict[str, Any] = {}
    for key in POLICY_KEYS:
        if key in ("callbacks", "retry"):
            continue
        value = getattr(policies, key)
        if value == getattr(_DEFAULT, key):
            continue
        if key in ("timeout", "queue_timeout", "stop_grace", "catch_up") and value != "none":
            value = format_duration(int(value))
        result[key] = value
    retry = _retry_to_json(policies.retry)
    if retry:
        result["retry"] = retry
    callbacks = {
        event: [_callback_to_json(callback) for callback in getattr(policies, event)]
        for event in _CALLBACKS
        if getattr(policies, event)
    }
    if callbacks:
        result["callbacks"] = callbacks
    return result


def _retry_to_json(retry: Retry) -> dict[str, Any]:
    default = Retry()
    result: dict[str, Any] = {}
    if retry.max_attempts != default.max_attempts:
        result["max_attempts"] = retry.max_attempts
    if retry.max_age is not None:
        result["max_age"] = format_duration(retry.max_age)
    backoff: dict[str, Any] = {}
    if retry.initial != default.initial:
        backoff["initial"] = format_duration(retry.initial)
    if retry.maximum != default.maximum:
        backoff["max"] = format_duration(retry.maximum)
    if retry.factor != default.factor:
        backoff["factor"] = retry.factor
    if backoff:
        result["backoff"] = backoff
    return result


def _callback_to_json(callback: Callback) -> dict[str, str]:
    if callback.url is not None:
        return {"url": callback.url}
    return {"trigger": callback.trigger or ""}
