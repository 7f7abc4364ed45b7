"""Triggers for people: when they are due, and their files without what nobody reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.push import PushConnector
from orchestrator.operations.checking import CheckedFile

_LONG = 200  # characters of a data: URL that are shown as a digest


def when_due(checked: CheckedFile) -> str:
    """When a trigger fires, such as `every 15 s`, or what it reads."""
    if checked.schedule is not None:
        return checked.schedule.describe()
    source = checked.connector.identity(checked.file.settings)
    if not source and isinstance(checked.connector, PushConnector):
        return f"events come to /hooks/{checked.file.name}"
    return ", ".join(f"{key} {value}" for key, value in source.items())


def yaml_text(document: Mapping[str, Any]) -> str:
    """A trigger document as YAML; inlined modules as their digest."""
    import yaml

    return yaml.safe_dump(shortened(document), sort_keys=False, allow_unicode=True, width=100)


def shortened(value: Any) -> Any:
    """JSON with long `data:` URLs replaced by their length and digest."""
    if isinstance(value, str) and value.startswith("data:") and len(value) > _LONG:
        head = value.partition(",")[0]
        digest = hashlib.sha256(value.encode()).hexdigest()[:16]
        return f"{head},<{len(value):,} characters, sha256 {digest}>"
    if isinstance(value, Mapping):
        return {str(k): shortened(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [shortened(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return value
