"""The settings of a service: what they mean, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.registry import Registry
from connectors.service import ServiceKind
from connectors.services import ServiceConnector
from connectors.times import SECOND

_SCALE = {"max": 5, "of": "orders", "target": 100}


def test_it_is_found() -> None:
    """The kind is registered, and says what it takes."""
    connector = Registry.load().get("service")
    assert isinstance(connector, ServiceConnector)
    assert connector.identity({"copies": 3}) == {}


def test_what_is_not_said_has_a_default() -> None:
    """One copy that lives for a quarter of an hour, and may miss two heartbeats."""
    plan = ServiceKind().plan({})
    assert (plan.copies, plan.life, plan.heartbeat, plan.lease) == (
        1,
        900 * SECOND,
        10 * SECOND,
        30 * SECOND,
    )
    assert (plan.update, plan.scale) == ("start_first", None)
    assert (plan.backoff.initial, plan.backoff.max) == (SECOND, 300 * SECOND)


def test_what_is_said_holds() -> None:
    """Heartbeats may be left out; scale takes the place of copies."""
    assert ServiceKind().plan({"heartbeat": "none"}).heartbeat is None
    plan = ServiceKind().plan({"scale": {**_SCALE, "down_after": 0, "on": "rate"}, "lease": "1m"})
    assert plan.lease == 60 * SECOND
    assert plan.scale is not None
    assert (plan.scale.min, plan.scale.max, plan.scale.down_after) == (0, 5, 0)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"copies": -1}, "copies"),
        ({"copies": 1001}, "copies"),
        ({"copies": "two"}, "copies"),
        ({"copies": True}, "copies"),
        ({"life": "5s"}, "life"),
        ({"life": 900}, "life"),
        ({"life": "20s"}, "life"),
        ({"heartbeat": "1ms"}, "heartbeat"),
        ({"heartbeat": "never"}, "heartbeat"),
        ({"heartbeat": None}, "heartbeat"),
        ({"heartbeat": "11m"}, "heartbeat"),
        ({"lease": "15s"}, "lease"),
        ({"lease": "1m", "heartbeat": "none"}, "lease"),
        ({"update": "rolling"}, "update"),
        ({"backoff": {"initial": "10m"}}, "backoff.initial"),
        ({"backoff": {"initial": "1us"}}, "backoff.initial"),
        ({"backoff": {"first": "1s"}}, "backoff.first"),
        ({"backoff": "1s"}, "backoff"),
        ({"scale": {}}, "scale.max"),
        ({"scale": {**_SCALE, "min": 6}}, "scale.min"),
        ({"scale": {**_SCALE, "max": 0}}, "scale.max"),
        ({"scale": {**_SCALE, "on": "cpu"}}, "scale.on"),
        ({"scale": {**_SCALE, "of": "No Name"}}, "scale.of"),
        ({"scale": {**_SCALE, "target": 0}}, "scale.target"),
        ({"scale": {**_SCALE, "target": "many"}}, "scale.target"),
        ({"scale": {**_SCALE, "target": True}}, "scale.target"),
        ({"scale": {**_SCALE, "target": float("nan")}}, "scale.target"),
        ({"scale": _SCALE, "copies": 2}, "copies"),
        ({"image": "two words"}, "image"),
        ({"image": ""}, "image"),
        ({"copys": 2}, "copys"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], path: str) -> None:
    """With its place, and with what to write instead."""
    with pytest.raises(SettingsError) as refused:
        ServiceKind().check(settings)
    assert path in [problem.path for problem in refused.value.problems]
    assert all(problem.remedy for problem in refused.value.problems)
