"""The contract of imports knows every connector and every module that connectors share."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import connectors
from connectors.registry import BUILT_IN

_PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def _layers() -> list[set[str]]:
    """The modules on each line of the contract that names the kinds of connectors."""
    contracts: list[Any] = tomllib.loads(_PROJECT.read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (c for c in contracts if "connectors.cron" in str(c.get("layers")))
    return [set(re.split(r"\s*[|:]\s*", line)) for line in contract["layers"]]


def test_every_kind_stands_in_the_contract() -> None:
    """A connector that comes with the package may be imported by nobody but its entry point."""
    kinds, *_ = _layers()
    assert kinds == {target.partition(":")[0] for target in BUILT_IN.values()}


def test_every_other_module_is_shared() -> None:
    """What is no connector is held to import none."""
    kinds, _, shared = _layers()
    found = {
        f"connectors.{path.stem}"
        for path in Path(connectors.__file__).parent.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    }
    assert found == kinds | shared
