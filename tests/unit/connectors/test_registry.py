"""Finding connectors: what is listed, and what a bad plugin can and cannot do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from connectors.abc import JSON, Connector
from connectors.cron import CronConnector, CronSettings
from connectors.registry import BUILT_IN, GROUP, Registry, UnknownConnectorError

OWN = tuple(sorted(BUILT_IN))
WITH_GOOD = tuple(sorted((*BUILT_IN, "good")))

PLUGINS = """
import sys
from collections.abc import Mapping
import pydantic
from connectors.abc import Connector

class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

class Loose(pydantic.BaseModel):
    pass

class Good(Connector):
    kind = "good"
    version = "2.1"
    summary = "a source for tests"
    settings_model = Settings
    default_overlap = "queue"
    def identity(self, settings):
        return {}

class Misnamed(Good):
    kind = "other"

class Careless(Good):
    kind = "careless"
    settings_model = Loose

class Modelless(Good):
    kind = "modelless"
    settings_model = None

class Mute(Good):
    kind = "mute"
    summary = None

class Abstract(Connector):
    kind = "abstract"

class Exploding(Good):
    kind = "exploding"
    def __init__(self):
        raise RuntimeError("no network")

class Second(Good):
    pass

not_a_class = 5
"""


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules as a third party would install them."""
    (tmp_path / "orch_test_plugins.py").write_text(PLUGINS)
    (tmp_path / "orch_test_raises.py").write_text("raise RuntimeError('half installed')")
    (tmp_path / "orch_test_exits.py").write_text("import sys; sys.exit('licence expired')")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.startswith("orch_test_")]:
        del sys.modules[name]


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_a_plugin_is_listed_beside_the_built_in_ones() -> None:
    """Kind, version, summary and origin of each, ordered by kind."""
    registry = Registry.load([point("good", "orch_test_plugins:Good")])
    assert registry.kinds == WITH_GOOD
    listed = {entry.kind: entry for entry in registry}
    assert tuple(listed) == WITH_GOOD
    cron, good = listed["cron"], listed["good"]
    assert isinstance(registry.get("cron"), CronConnector)
    assert (good.kind, good.version, good.summary) == ("good", "2.1", "a source for tests")
    assert good.error is None
    assert cron.origin == "source checkout"
    assert registry.get("good").kind == "good"


def test_built_in_connectors_need_no_metadata() -> None:
    """A source checkout that was never installed has them all the same."""
    registry = Registry.load([])
    assert registry.kinds == OWN
    assert isinstance(registry.get("cron"), Connector)


def test_what_is_installed_is_found() -> None:
    """The real entry points load, each kind once."""
    registry = Registry.load()
    assert isinstance(registry.get("cron"), CronConnector)
    listed = [entry.kind for entry in registry]
    assert listed.count("cron") == 1
    assert {p.name for p in entry_points(group=GROUP)} <= set(listed)


BROKEN = [
    ("gone", "orch_test_nowhere:Thing", "ModuleNotFoundError"),
    ("missing", "orch_test_plugins:Missing", "AttributeError"),
    ("raises", "orch_test_raises:Thing", "RuntimeError: half installed"),
    ("exits", "orch_test_exits:Thing", "SystemExit: licence expired"),
    ("exploding", "orch_test_plugins:Exploding", "RuntimeError: no network"),
    ("plain", "orch_test_plugins:not_a_class", "not a subclass of connectors.abc.Connector"),
    ("plain", "orch_test_plugins:Settings", "not a subclass of connectors.abc.Connector"),
    ("abstract", "orch_test_plugins:Abstract", "does not define identity"),
    ("careless", "orch_test_plugins:Careless", "not frozen or that takes unknown keys"),
    ("modelless", "orch_test_plugins:Modelless", "no pydantic model in 'settings_model'"),
    ("mute", "orch_test_plugins:Mute", "no text in 'summary'"),
    ("misnamed", "orch_test_plugins:Misnamed", "calls itself 'other', its entry point 'misnamed'"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), BROKEN)
def test_a_broken_plugin_harms_nothing_else(kind: str, value: str, reason: str) -> None:
    """It is listed with its error; using it says why; the others work."""
    registry = Registry.load([point(kind, value), point("good", "orch_test_plugins:Good")])
    (listed,) = [entry for entry in registry if entry.kind == kind]
    assert listed.connector is None
    assert listed.version is None
    assert listed.summary is None
    assert listed.error is not None
    assert reason in listed.error
    with pytest.raises(UnknownConnectorError, match="cannot be used") as caught:
        registry.get(kind)
    assert reason in str(caught.value)
    assert registry.kinds == WITH_GOOD


def test_a_kind_given_twice_is_used_by_neither() -> None:
    """Which of two plugins runs must not depend on the order in which they are found."""
    both = [point("good", "orch_test_plugins:Good"), point("good", "orch_test_plugins:Second")]
    registry = Registry.load(both)
    assert registry.kinds == OWN
    errors = [entry.error for entry in registry if entry.kind == "good"]
    assert len(errors) == 2
    assert all(error is not None and "uninstall one" in error for error in errors)
    with pytest.raises(UnknownConnectorError, match="also given by"):
        registry.get("good")


def test_a_plugin_cannot_take_the_place_of_a_built_in_connector() -> None:
    """`cron` stays cron; the intruder is listed with an error."""
    registry = Registry.load([point("cron", "orch_test_plugins:Good")])
    assert isinstance(registry.get("cron"), CronConnector)
    assert [entry.target for entry in registry if entry.error] == ["orch_test_plugins:Good"]


def test_the_same_entry_point_seen_twice_is_one() -> None:
    """A distribution that stands on the path twice is no conflict."""
    registry = Registry.load([point("good", "orch_test_plugins:Good")] * 2)
    assert registry.kinds == WITH_GOOD


def test_an_unknown_kind_names_the_nearest() -> None:
    """A typing mistake is answered with the right word, anything else with the list."""
    registry = Registry.load([point("good", "orch_test_plugins:Good")])
    with pytest.raises(UnknownConnectorError, match="did you mean 'cron'"):
        registry.get("corn")
    with pytest.raises(UnknownConnectorError, match=f"installed are {', '.join(WITH_GOOD)}"):
        registry.get("postgresql")


def test_the_contract_can_be_implemented_without_the_project() -> None:
    """A connector needs nothing but `connectors.abc` and pydantic."""

    class Small(Connector):
        kind = "small"
        version = "1"
        summary = "small"
        settings_model = CronSettings
        default_overlap = "queue"

        def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
            return {"every": settings["every"]}

    assert Small().identity({"every": "5s"}) == {"every": "5s"}
    assert Small.value_paths == frozenset()
