"""The HTTP API: an ASGI application, and the paths that it knows.

A path below `/api/v1` is kept as it was sent: names with spaces or slashes can be submitted and not
be read, as on a real node.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from . import errors
from .auth import Authorizer, required_capability
from .config import is_loopback
from .model import dumps, new_request_id
from .spec import parse_body
from .states import Json

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)
_PREFIX = "/api/v1/"
_JSON_TYPE = (b"content-type", b"application/json")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that was read and authorised."""

    method: str
    segments: list[str]  # of the path below /api/v1, undecoded
    query: dict[str, list[str]]
    body: bytes
    content_type: str

    def text(self, name: str) -> str:
        """A query parameter, empty where it is absent."""
        return self.query.get(name, [""])[0]

    def number(self, name: str) -> int:
        """A query parameter that is a count, 0 where it is absent."""
        value = self.text(name)
        if not value:
            return 0
        if not value.isdigit():
            raise errors.invalid(f'strconv.ParseUint: parsing "{value}": invalid syntax')
        return int(value)

    def flag(self, name: str) -> bool:
        """A query parameter that is true or false."""
        return self.text(name).lower() in ("true", "1", "t")

    def json(self) -> Json:
        """The body's JSON object."""
        return parse_body(self.body, self.content_type)


Handler = Callable[[Request], Awaitable[str]]
"""Answers a request with a JSON text; raises ApiError."""

LogHandler = Callable[[Request, Callable[[str], Awaitable[None]]], Awaitable[None]]
"""Sends the messages of a log stream."""

RawHandler = Callable[[str, list[str]], Handler | None]


class Application:
    """Reads requests, checks who sent them, and answers with what the handlers say."""

    def __init__(
        self,
        route: RawHandler,
        logs: LogHandler,
        authorizer: Authorizer,
        *,
        max_body_bytes: int,
    ) -> None:
        self._route = route
        self._logs = logs
        self._authorizer = authorizer
        self._max_body = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 200
        try:
            request = await self._read(scope, receive)
            handler = self._route(request.method, request.segments)
            if handler is None:
                raise errors.unknown_path()
            text = await handler(request)
        except errors.ApiError as error:
            status, text = error.status, dumps(error.body)
        except Exception:  # noqa: BLE001 - logged, and the client gets its answer
            _log.exception("request failed: %s %s", scope["method"], scope["path"])
            status, text = 500, dumps(errors.internal().body)
        # A lone surrogate is valid in JSON's escapes and cannot be sent as UTF-8.
        body = (text + "\n").encode("utf-8", "replace")
        headers = [
            _JSON_TYPE,
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", new_request_id().encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _read(self, scope: Scope, receive: Receive) -> Request:
        headers = {bytes(name): bytes(value) for name, value in scope["headers"]}
        path = bytes(scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace")
        path = path.partition("?")[0]
        self._check_host(headers.get(b"host", b"").decode("latin-1"))
        if not path.startswith(_PREFIX):
            raise errors.unknown_path()
        segments = path.removeprefix(_PREFIX).strip("/").split("/")
        self._authorize(scope.get("method", "GET"), segments, headers)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            raise errors.too_large()
        return Request(
            method=scope.get("method", "GET"),
            segments=segments,
            query=parse_qs(bytes(scope["query_string"]).decode(), keep_blank_values=True),
            body=await self._body(receive) if scope["type"] == "http" else b"",
            content_type=headers.get(b"content-type", b"").decode("latin-1"),
        )

    def _check_host(self, host: str) -> None:
        """Without credentials only this machine's own names are served.

        A web page that made its own name lead to this address (DNS rebinding) could otherwise
        run programs here.
        """
        name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        if name and not self._authorizer.enabled and not is_loopback(name):
            raise errors.ApiError(403, f"this dev node does not answer as {name}")

    def _authorize(self, method: str, segments: list[str], headers: dict[bytes, bytes]) -> None:
        capability = required_capability(method, segments)
        if capability is not None:
            given = headers.get(b"authorization", b"").decode("latin-1")
            self._authorizer.check(given, capability)

    async def _body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise errors.invalid("the client went away")
            part = bytes(message.get("body", b""))
            size += len(part)
            if size > self._max_body:
                raise errors.too_large()
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            request = await self._read(scope, receive)
        except errors.ApiError as error:
            await _refuse(send, error)
            return
        if request.segments[:2] != ["orchestrator", "jobs"] or request.segments[3:] != ["logs"]:
            await _refuse(send, errors.unknown_path())
            return
        await send({"type": "websocket.accept"})

        async def deliver(text: str) -> None:
            await send({"type": "websocket.send", "text": text})

        await self._logs(request, deliver)
        await send({"type": "websocket.close", "code": 1000})


async def _refuse(send: Send, error: errors.ApiError) -> None:
    body = dumps(error.body).encode()
    await send(
        {
            "type": "websocket.http.response.start",
            "status": error.status,
            "headers": [_JSON_TYPE, (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "websocket.http.response.body", "body": body})
