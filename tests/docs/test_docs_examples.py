"""The compose files that the pages name: in order, and for this machine only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.markdown import ROOT

_FILES = sorted((ROOT / "docs" / "examples" / "compose").glob("*.yaml"))
_KEYS = {"image", "ports", "environment", "volumes", "healthcheck", "command"}


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.name)
def test_a_compose_file_is_one(file: Path):
    """Images are pinned, ports are on loopback, variables are text, volumes are declared."""
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    assert content.keys() <= {"services", "volumes"}
    for service in content["services"].values():
        assert service.keys() <= _KEYS
        assert re.fullmatch(r"[a-z0-9/.-]+:\d+(\.\d+)+", service["image"])
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service["ports"])
        assert all(isinstance(value, str) for value in service["environment"].values())
        assert service["healthcheck"]["test"][0] == "CMD"
        named = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert named <= content.get("volumes", {}).keys()


def test_the_broker_is_the_one_that_is_tested():
    """The compose file starts the version of Kafka that the tests run against."""
    content = yaml.safe_load((ROOT / "docs/examples/compose/kafka.yaml").read_text())
    version = content["services"]["kafka"]["image"].partition(":")[2]
    assert f"<version>{version}</version>" in (ROOT / "scripts/kafka/pom.xml").read_text()


def test_somebody_is_told_of_each():
    """A file that no page names is found by nobody."""
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    assert _FILES
    assert all(file.relative_to(ROOT).as_posix() in pages for file in _FILES)
