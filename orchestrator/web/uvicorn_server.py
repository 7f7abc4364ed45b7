"""uvicorn's server, ending for certain. Imported when the API is served, not before."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn


class UvicornServer(uvicorn.Server):
    """Connections that the graceful part has not ended are cut.

    A TLS connection is closed only once its peer agrees: one that is silent would be left to the
    garbage collector.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything."""
        await super().shutdown(sockets)
        left: list[Any] = list(self.server_state.connections)
        for connection in left:
            connection.transport.abort()
        if left:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
