"""Triggers for people: when they are due, and their files without what nobody reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.abc import Demand, DemandConnector
from connectors.push import PushConnector
from connectors.services import ServiceConnector, ServicePlan
from orchestrator.operations.checking import CheckedFile

_SHORT = 40  # characters of a value in a table
_LONG = 200  # characters of a data: URL that are shown as a digest


def when_due(checked: CheckedFile) -> str:
    """When a trigger fires, such as `every 15 s`, or what it reads."""
    if checked.schedule is not None:
        return checked.schedule.describe()
    if isinstance(checked.connector, DemandConnector):
        return _asked_for(checked.file.name, checked.connector.demand(checked.file.settings))
    source = checked.connector.identity(checked.file.settings)
    if isinstance(checked.connector, ServiceConnector):
        return _kept(checked.connector.plan(checked.file.settings))
    if not source and isinstance(checked.connector, PushConnector):
        return f"events come to /hooks/{checked.file.name}"
    return ", ".join(f"{key} {value}" for key, value in source.items())


def _asked_for(name: str, demand: Demand) -> str:
    if demand.after:
        for_each = " for one due time" if demand.same_time else ""
        return f"after {' and '.join(demand.after)}{for_each}"
    also = ", and of those that name no template" if demand.default else ""
    return f"runs are asked for: orch jobs submit {name}{also}"


def _kept(plan: ServicePlan) -> str:
    if plan.scale is not None:
        scale = plan.scale
        return f"{scale.min} to {scale.max} copies by the {scale.on} of {scale.of}"
    return "1 copy is kept alive" if plan.copies == 1 else f"{plan.copies} copies are kept alive"


def yaml_text(document: Mapping[str, Any]) -> str:
    """A trigger document as YAML; inlined modules as their digest."""
    import yaml

    return yaml.safe_dump(shortened(document), sort_keys=False, allow_unicode=True, width=78)


def one_line(value: Any) -> str:
    """JSON in short; nothing for null."""
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


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
