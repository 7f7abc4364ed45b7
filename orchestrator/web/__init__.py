"""The HTTP API, at the edge: it reads requests, calls operations and the store, writes answers.

`create_app` builds it; `orchestrator.web.server.Server` serves it in a thread. The web framework is
imported when one of them is used, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from orchestrator.web.deps import Deps


def create_app(deps: Deps) -> FastAPI:
    """Build the application over what the daemon has."""
    from orchestrator.web.build import build

    return build(deps)
