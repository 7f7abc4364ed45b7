"""What holds for every kind of connector: how it is found, what it says of itself, its settings.

Bad settings are made by the kit itself too: each key in turn gets values that no key takes, or
that hardly any does. A connector may take such a value; what it may not do is fail in any other
way than by a list of problems, each with a message and a remedy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Any, cast, get_args

import pytest

from connectors.abc import (
    JSON,
    Connector,
    DemandConnector,
    Overlap,
    Problem,
    SettingsError,
    SourceConnector,
    TimeConnector,
)
from connectors.registry import BUILT_IN, GROUP, Registry
from connectors.testing.harness import AnyHarness
from connectors.testing.watching import no_io

_KIND = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MAX_SUMMARY = 100
_ODD: tuple[Any, ...] = (
    *(True, -1, 10**30, -0.5, float("nan"), float("inf")),
    *("", " ", "\0", "a\nb", "\ud800", "ключ ${{ secret.X }}", "../../etc/passwd", "x" * 5000),
    *([], [[]], [None], ["\0"], [1, "x"], ["x"] * 300),
    *({}, {"": None}, {"no such key": 1}, {"\0": {"a": []}}),
)
"""Values that nobody would write on purpose."""


def _deep() -> JSON:
    value: JSON = "x"
    for _ in range(200):
        value = [value]
    return value


def refused(harness: AnyHarness, settings: Mapping[str, JSON]) -> list[Problem] | None:
    """What is wrong with settings, or None where they are taken. AssertionError for a problem that
    does not help a person."""
    connector = harness.connector
    try:
        if isinstance(connector, SourceConnector):
            connector.check(settings)
        elif isinstance(connector, TimeConnector):
            connector.schedule(settings)
        connector.identity(settings)
    except SettingsError as error:
        for problem in error.problems:
            _helps(problem, harness.secrets)
        return error.problems
    return None


def _helps(problem: Problem, secrets: Mapping[str, str]) -> None:
    assert problem.message, f"a problem says what is wrong: {problem}"
    assert problem.remedy, f"a problem says what to write instead: {problem}"
    for text in problem:
        assert text.isprintable(), f"a problem is one line that can be printed: {text!r}"
        assert len(text) <= 2000, f"a problem of {len(text)} characters is not read: {text[:80]}"
        assert not any(secret in text for secret in secrets.values()), "a secret is shown"


def changed(settings: Mapping[str, JSON], changes: Mapping[str, JSON]) -> dict[str, JSON]:
    """Settings with other values; None takes a key away."""
    return {k: v for k, v in {**settings, **changes}.items() if v is not None}


class ConnectorConformance:
    """Base of the suites. A subclass has a fixture `harness`."""

    @pytest.fixture
    def harness(self) -> Iterator[Any]:
        """The harness of the connector under test."""
        raise NotImplementedError("give your class a fixture `harness` that yields your harness")

    def test_it_can_be_an_entry_point(self, harness: AnyHarness) -> None:
        """The registry takes it, and what it says of itself fits into a table."""
        connector: Connector = harness.connector
        kind = type(connector)
        own = EntryPoint(kind.kind, f"{kind.__module__}:{kind.__qualname__}", GROUP)
        found = Registry.load([] if kind.kind in BUILT_IN else [own])
        assert not [r.error for r in found if r.kind == kind.kind and r.error]
        assert _KIND.fullmatch(kind.kind), f"{kind.kind!r} is no kind: a-z, 0-9 and - only"
        assert kind.version.isprintable()
        assert kind.version
        assert 0 < len(kind.summary) <= _MAX_SUMMARY
        assert kind.summary.isprintable()
        assert kind.default_overlap in get_args(Overlap)
        # What comes from outside waits for its turn; what a person or a clock asks for need not.
        asked = issubclass(kind, TimeConnector | DemandConnector)
        assert kind.default_overlap == "queue" or asked
        for path in kind.value_paths:
            assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)*(\.\*)?", path), path

    def test_settings_are_strict(self, harness: AnyHarness) -> None:
        """Frozen, and with no key but those that are known."""
        configured = harness.connector.settings_model.model_config
        assert configured.get("frozen")
        assert configured.get("extra") == "forbid"

    def test_settings_have_a_schema(self, harness: AnyHarness) -> None:
        """From which options, help and the reference are made: each key has a description."""
        schema = harness.connector.settings_model.model_json_schema()
        json.dumps(schema, allow_nan=False)
        properties: Mapping[str, Any] = schema["properties"]
        assert harness.settings().keys() <= properties.keys()
        plain = [name for name, key in properties.items() if not key.get("description")]
        assert not plain, f"without a description: {', '.join(plain)}"

    def test_good_settings_are_taken(self, harness: AnyHarness) -> None:
        """As often as they are given, and they are not changed by it."""
        settings = harness.settings()
        before = json.dumps(settings, sort_keys=True)
        for _ in range(2):
            assert refused(harness, settings) is None
        assert json.dumps(settings, sort_keys=True) == before

    def test_the_identity_is_stable(self, harness: AnyHarness) -> None:
        """JSON, the same for the same settings, and without secrets."""
        connector, settings = harness.connector, harness.settings()
        first, second = connector.identity(settings), type(connector)().identity(settings)
        assert first == second
        text = json.dumps(first, allow_nan=False)
        assert not any(secret in text for secret in harness.secrets.values())

    def test_an_unknown_key_is_refused(self, harness: AnyHarness) -> None:
        """With the nearest right one, because people mistype."""
        for key in harness.connector.settings_model.model_fields:
            wrong = f"{key}x"
            problems = refused(harness, {**harness.settings(), wrong: "x"})
            assert problems is not None, f"{wrong!r} is taken"
            assert wrong in [problem.path for problem in problems]

    def test_what_is_required_is_missed(self, harness: AnyHarness) -> None:
        """The problem names the key that is not there."""
        for name, key in harness.connector.settings_model.model_fields.items():
            if key.is_required():
                path = key.alias or name
                without = {k: v for k, v in harness.settings().items() if k != path}
                problems = refused(harness, without)
                assert problems is not None, f"{path!r} may be left out, but is required"
                assert path in [problem.path for problem in problems]

    def test_bad_settings_are_refused(self, harness: AnyHarness) -> None:
        """Those that the harness names, each at its place."""
        bad = harness.bad_settings()
        assert bad, "name some: the rules that your settings have"
        for changes, path in bad:
            problems = refused(harness, changed(harness.settings(), changes))
            assert problems is not None, f"{changes} is taken"
            paths = [problem.path for problem in problems]
            assert path in paths, f"{changes}: the problem is said to be at {paths}"

    def test_odd_settings_do_no_harm(self, harness: AnyHarness) -> None:
        """Whatever stands at a key: it is taken, or there is a problem; nothing else is raised."""
        for key in harness.connector.settings_model.model_fields:
            for value in (*_ODD, _deep()):
                problems = refused(harness, {**harness.settings(), key: cast(JSON, value)})
                if problems is not None:
                    assert problems
        for whole in ({}, {"": 1}, {"\0": 1}):
            refused(harness, cast(Mapping[str, JSON], whole))

    def test_checking_does_no_io(self, harness: AnyHarness) -> None:
        """Files are checked where the orchestrator is not, and for triggers by the thousand."""
        settings = harness.settings()
        refused(harness, settings)  # modules that are loaded on use
        with no_io():
            assert refused(harness, settings) is None
