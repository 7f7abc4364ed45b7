"""Who may do what: bearer keys and basic credentials against the configured users."""

from __future__ import annotations

import base64
import binascii
import hmac

from . import errors
from .config import User


class Authorizer:
    """Checks requests; without users everything is allowed, as on a node without API.Auth."""

    def __init__(self, users: tuple[User, ...]) -> None:
        self._users = users

    @property
    def enabled(self) -> bool:
        """Whether credentials are asked for at all."""
        return bool(self._users)

    def check(self, authorization: str, capability: str) -> None:
        """Raises ApiError 401 for wrong credentials, 403 for a missing capability."""
        if not self._users:
            return
        user = self._user(authorization)
        if capability not in user.capabilities:
            raise errors.forbidden(user.name, capability)

    def _user(self, authorization: str) -> User:
        if not authorization:
            raise errors.unauthorized("Missing Authorization header")
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            for user in self._users:
                if user.api_key and _same(user.api_key, credentials.strip()):
                    return user
            raise errors.unauthorized("invalid API key")
        if scheme.lower() == "basic":
            name, _, password = _decoded(credentials).partition(":")
            for user in self._users:
                if user.password and user.name == name and _same(user.password, password):
                    return user
            raise errors.unauthorized("invalid username or password")
        raise errors.unauthorized("unsupported authorization scheme")


def required_capability(method: str, segments: list[str]) -> str | None:
    """The capability for a path below `/api/v1`, split at its slashes; None for open paths."""
    group = segments[0] if segments else ""
    verb = "read" if method in ("GET", "HEAD") else "write"
    if group == "agent":
        return None if segments[1:] in (["alive"], ["authconfig"]) else f"{verb}:agent"
    if segments[:2] == ["orchestrator", "nodes"]:
        return f"{verb}:node"
    return f"{verb}:job"


def _same(known: str, given: str) -> bool:
    return hmac.compare_digest(known.encode(), given.encode())


def _decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
