"""Serves an ASGI application with uvicorn on the running event loop."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .api import Application

_CLOSE_WITHIN = 2
_IDLE = 75  # seconds; uvicorn's own 5 end just when a trigger that is due every 5 s sends again


class _OneWrite:
    """A transport that sends head and body of an answer together: a call to the system each is
    what costs a small answer most."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _OneWrite(transport)))


class Server:
    """One listening socket. Port 0 takes a free one."""

    def __init__(self, application: Application, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        # The protocol is named so that asyncio turns Nagle's algorithm off for connections.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        config = uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=_Protocol,
            ws="websockets-sansio",
            ws_max_size=1 << 20,
            server_header=False,
            timeout_graceful_shutdown=_CLOSE_WITHIN,
            timeout_keep_alive=_IDLE,
            backlog=1024,
        )
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Returns when connections are accepted."""
        # _serve leaves the process's signal handlers alone, which belong to whoever embeds a node.
        self._task = asyncio.create_task(self._server._serve([self._socket]))  # pyright: ignore[reportPrivateUsage]
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.005)
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Closes the socket and the connections."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
