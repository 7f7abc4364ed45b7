"""What a run's `data` holds: values for its job, and what is the orchestrator's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.store.streams import BROUGHT

CALLBACK = "callback"  # an address that is told of the end of this run alone
HIDDEN = "hidden"  # names of parameters that are shown to nobody
_RESERVED = frozenset({BROUGHT, CALLBACK, HIDDEN})
_MASK = "…"


def shown_values(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run as people and receivers of callbacks may see them."""
    found = {key: value for key, value in data.items() if key not in _RESERVED}
    hidden = data.get(HIDDEN)
    if hidden:
        masked = dict.fromkeys(hidden, _MASK)
        given = found.get("parameters", {})
        found["parameters"] = {**given, **{k: v for k, v in masked.items() if k in given}}
    return found
