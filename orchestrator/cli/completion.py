"""Completion of names over HTTP. Silent and quick: a prompt must not hang or be written over."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.states import RunState

_WITHIN = 1.0  # seconds


def triggers(ctx: Any, incomplete: str) -> list[str]:
    """The triggers whose names begin so."""
    found = _names(ctx, "triggers")
    return [name for name in found if name.startswith(incomplete)]


def states(incomplete: str) -> list[str]:
    """The states of runs."""
    return [str(state) for state in RunState if state.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """The connectors that are installed here."""
    from connectors.registry import Registry

    return [kind for kind in Registry.load().kinds if kind.startswith(incomplete)]


def _names(ctx: Any, path: str) -> list[str]:
    try:
        from orchestrator.cli.http import Api

        root = ctx.find_root().params.get("url")
        api = Api(ctx.params.get("url") or root, connect_timeout=_WITHIN)
        response = api.request("GET", path, params={"limit": 1000}, read_timeout=_WITHIN)
        return [str(item["name"]) for item in response.json()["items"]]
    except Exception:  # noqa: BLE001 - whatever it is, the person at the prompt only typed TAB
        return []
