"""Credentials, which show in no repr and no log."""

from base64 import b64encode
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class BearerAuth:
    """An API key of the node. ``ValueError`` for one that cannot stand in a header."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.token or not self.token.isascii() or not self.token.isprintable():
            raise ValueError("bearer token: must be printable ASCII and not empty; check its file")
        if " " in self.token:
            raise ValueError("bearer token: holds a space; give the key alone, without 'Bearer'")

    def header(self) -> str:
        """The value of ``Authorization``."""
        return f"Bearer {self.token}"


@dataclass(frozen=True, kw_only=True)
class BasicAuth:
    """User and password, sent as UTF-8. ``ValueError`` for a colon in the user (RFC 7617)."""

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.user or ":" in self.user:
            raise ValueError("basic auth: the user must not be empty or hold ':'")

    def header(self) -> str:
        """The value of ``Authorization``."""
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()
