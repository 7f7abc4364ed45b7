"""Who may ask: by host, origin, token and content type, before any endpoint sees the request.

A web page that a person opens can make the browser send requests to a local orchestrator. It can
set neither the `Host` header nor the `Origin`, and its forms can send no JSON: that is what is
checked. Whoever can reach more than loopback needs a token.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.domain.roles import Role
from orchestrator.store.errors import StoreError
from orchestrator.store.tokens import digest
from orchestrator.web.accesslog import ACTOR, ROLE
from orchestrator.web.attempts import Attempts
from orchestrator.web.body import is_json, is_yaml, media_type
from orchestrator.web.deps import Deps
from orchestrator.web.problems import Trouble, answer, translate
from orchestrator.web.rights import check_role, needed

LOCAL = "local"  # who acts where no token is asked for
TASK = "task"  # who proves itself by the token of its run, to the endpoint
_OPEN = frozenset({"/healthz", "/readyz"})
_HOOKS = "/hooks/"  # what comes there proves itself in its own way
_HEARTBEAT = re.compile(r"/api/v1/runs/[^/]{1,200}/heartbeat", re.ASCII)  # so does a task
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CONTROL = re.compile(rb"%(?:[01][0-9a-f]|7f)|[\x00-\x1f\x7f]", re.IGNORECASE)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class _Asker(NamedTuple):
    name: str
    role: Role


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, deps: Deps) -> None:
        self._app = app
        self._deps = deps
        self._attempts = Attempts(deps.clock.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer with a problem."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        try:
            _check_text(scope)
            self._check_host(request)
            self._check_origin(request)
            scope[ACTOR], scope[ROLE] = await self._asker(request)
            _check_content(request)
        except (Trouble, StoreError) as failure:
            await answer(translate(failure))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, request: Request) -> None:
        given = request.headers.getlist("host")
        if len(given) != 1 or not given[0]:
            raise Trouble(400, "the request needs one Host header")
        name = host_name(given[0])
        own = request.scope.get("server") or ("", 0)
        if name is None or (name not in self._deps.hosts and name != str(own[0]).lower()):
            raise Trouble(
                421,
                f"{given[0][:100]!r} is not a name of this orchestrator: use the address it "
                "listens on, or start it with --public-url",
            )

    def _check_origin(self, request: Request) -> None:
        origins = request.headers.getlist("origin")
        if not origins:
            return
        own = {f"{request.url.scheme}://{request.headers['host']}".lower()}
        if self._deps.public_origin is not None:
            own.add(self._deps.public_origin)
        if len(origins) != 1 or origins[0].lower() not in own:
            raise Trouble(
                403,
                f"requests of other web pages are refused: this one came from {origins[0][:100]!r}",
            )

    async def _asker(self, request: Request) -> _Asker:
        path: str = request.scope["path"]
        # What these may do, their endpoints say.
        if path in _OPEN or path.startswith(_HOOKS):
            return _Asker(LOCAL, Role.VIEWER)
        if request.method == "PUT" and _HEARTBEAT.fullmatch(path):
            return _Asker(TASK, Role.VIEWER)
        given = bearer(request)
        known, address = digest(given), request.client.host if request.client else ""
        wait = self._attempts.wait(address, known) if given else 0.0
        if wait > 0:
            raise Trouble(
                429,
                "too many wrong tokens came from this address: wait, and send a right one",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        found = await run_sync(self._deps.tokens.check, given)
        if found.name is not None:
            self._attempts.right(known)
            check_role(found.role, needed(request.method, path))
            return _Asker(found.name, found.role)
        if not found.any and not self._deps.token_needed:
            return _Asker(LOCAL, Role.ADMIN)
        if given:
            self._attempts.wrong(address)
        wrong = "this token is not known, or no longer" if given else "a token is needed"
        challenge = 'Bearer realm="orch"' + (', error="invalid_token"' if given else "")
        raise Trouble(
            401,
            f"{wrong}: send `Authorization: Bearer …` (ORCH_TOKEN). Beside the data directory "
            "`orch token create NAME --data-dir DIR` makes one",
            headers={"WWW-Authenticate": challenge},
        )


def bearer(request: Request) -> str:
    """The token that a request brings; "" for none."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case, without its port; None for nonsense."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname


def _check_text(scope: Scope) -> None:
    """No name has control characters, and not every database can be asked for them."""
    query: bytes = scope["query_string"]
    if not scope["path"].isprintable() or _CONTROL.search(query):
        raise Trouble(400, "the address holds control characters: remove them")


def _check_content(request: Request) -> None:
    """Forms and plain text are what a foreign page can send; neither is taken."""
    headers = request.headers
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if request.method in _SAFE or not (request.method in _WITH_BODY or has_body):
        return
    if headers.get("content-encoding", "identity") != "identity":
        raise Trouble(415, "the body is encoded: send it as it is, without Content-Encoding")
    media = media_type(request)
    if request.url.path.startswith(_HOOKS):
        return
    if not (is_json(media) or is_yaml(media)):
        raise Trouble(
            415,
            f"the content type {media[:60]!r} is not taken: send `Content-Type: application/json`"
            " (also without a body), or application/yaml for a trigger file",
        )
