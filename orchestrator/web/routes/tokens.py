"""Tokens of this API, and the key that signs callbacks."""

from __future__ import annotations

from typing import Literal

from starlette.responses import JSONResponse

import specs
from orchestrator.domain.roles import Role
from orchestrator.web import query, views
from orchestrator.web.body import JsonBody, Strict, openapi_model
from orchestrator.web.problems import invalid
from orchestrator.web.routes._common import STRICT, Actor, D, api_router, reply

router = api_router("tokens")


class NewToken(Strict):
    """A token's name; what it is good for: to see (`viewer`), to work with what is registered
    (`operator`), or for all (`admin`); `expires` is how long (`30d`) or until when (RFC 3339)."""

    name: str
    role: Literal["viewer", "operator", "admin"] = "admin"
    expires: str | None = None


@router.get("/tokens", dependencies=STRICT)
def list_tokens(d: D) -> JSONResponse:
    """List tokens, without their secrets."""
    return reply(views.page([views.token(row) for row in d.tokens.list()], None))


@router.post(
    "/tokens",
    status_code=201,
    dependencies=STRICT,
    openapi_extra=openapi_model(NewToken, required=True),
)
def create_token(d: D, actor: Actor, body: JsonBody) -> JSONResponse:
    """Make a token. From the first one on every request needs one; it is shown only here."""
    asked = body.check(NewToken)
    expires_at = _expires_at(d.clock.now(), asked.expires)
    secret = d.tokens.create(asked.name, Role(asked.role), expires_at, actor)
    made = {"name": asked.name, "role": asked.role, "token": secret}
    return reply(made | {"expires_at": views.when(expires_at)}, 201)


def _expires_at(now: int, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return now + specs.duration(text)
    except ValueError:
        pass
    try:
        return query.instant("expires", text)
    except Exception as failure:
        raise invalid(
            "expires",
            f"{text[:60]!r} is neither a duration nor a time",
            "Write 30d, or 2026-03-29T01:00:00Z",
        ) from failure


@router.delete("/tokens/{name}", dependencies=STRICT)
def revoke_token(d: D, actor: Actor, name: str) -> JSONResponse:
    """Forget a token: requests with it are refused from now on."""
    d.tokens.revoke(name, actor, keep_last=d.token_needed)
    return reply({"name": name, "revoked": True})


@router.get("/callbacks/key", dependencies=STRICT)
def callback_key(d: D) -> JSONResponse:
    """The key of this store's callbacks: HMAC-SHA256 over `<Orch-Timestamp>.<body>`."""
    return reply({"algorithm": "HMAC-SHA256", "key": d.callback_key.hex(), "encoding": "hex"})
