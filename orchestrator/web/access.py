"""Every request: security headers, a line in the logs, an answer for what nobody caught."""

from __future__ import annotations

import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator import metrics
from orchestrator.web.accesslog import clean, combined
from orchestrator.web.deps import Deps
from orchestrator.web.problems import answer, translate

_log = structlog.get_logger(__name__)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Access:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, deps: Deps) -> None:
        self._app = app
        self._file = deps.access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in any case, and write down what was asked."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0
        size = 0

        async def counting(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception as failure:  # noqa: BLE001  (whatever it is, the client gets an answer)
            _log.exception("request failed", method=scope["method"], path=clean(scope["path"]))
            if status == 0:
                await answer(translate(failure))(scope, receive, counting)
        finally:
            self._write(scope, status or 499, size, time.perf_counter() - begun)

    def _write(self, scope: Scope, status: int, size: int, seconds: float) -> None:
        method, path = scope["method"], clean(scope["path"])
        known = method if method in _METHODS else "other"
        metrics.http_requests.labels(known, str(status)).inc()
        metrics.http_seconds.observe(seconds)
        milliseconds = round(seconds * 1000, 1)
        _log.debug("request", method=method, path=path, status=status, ms=milliseconds, bytes=size)
        if self._file is not None:
            self._file.write(combined(scope, method, path, status, size))
