"""No built-in connector is without the kit."""

from __future__ import annotations

import ast
from pathlib import Path

from connectors.registry import BUILT_IN, Registry


def test_every_built_in_kind_passes_the_kit() -> None:
    """Each has a harness here, which a suite beside it uses."""
    given = {
        ast.unparse(line.value.func)
        for file in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call)
    }
    registry = Registry.load()
    missing = [kind for kind in BUILT_IN if type(registry.get(kind)).__name__ not in given]
    assert not missing, f"without a harness: {', '.join(missing)}"
