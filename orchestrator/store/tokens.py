"""Tokens of the API: shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from orchestrator.domain.roles import Role
from orchestrator.store import trail
from orchestrator.store.database import Database
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.schema import tokens
from orchestrator.store.writer import Tx

PREFIX = "orch_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LOCAL = "local"  # how the trail calls whoever needed no token
_RESERVED = frozenset({_LOCAL})
_KNOWN = select(tokens.c.name, tokens.c.digest, tokens.c.role, tokens.c.expires_at)


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token without its secret. Instants in microseconds."""

    name: str
    role: Role
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Whose secret it was (None: nobody's), what it is good for, and whether there is any token."""

    name: str | None
    role: Role
    any: bool


def digest(secret: str) -> str:
    """What is kept of a secret. It has 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens of this store."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._own = ""

    def own(self) -> str:
        """A secret for this process itself, good while it lives; nobody else needs one for it."""
        if not self._own:
            self._own = PREFIX + secrets.token_urlsafe(32)
        return self._own

    def create(self, name: str, role: Role, expires_at: int | None, actor: str) -> str:
        """Make a token; returns the secret, which nobody can read again. Raises Conflict."""
        if _NAME.fullmatch(name) is None or name in _RESERVED:
            raise Conflict(
                f"{name[:100]!r} cannot be a token's name: use up to 63 letters, digits, dots, "
                "dashes and underscores, a letter or digit first, and not 'local'"
            )
        secret = PREFIX + secrets.token_urlsafe(32)

        def operation(tx: Tx) -> None:
            now = self._db.clock.now()
            if expires_at is not None and expires_at <= now:
                raise Conflict("the token would have expired already: choose a later end")
            if tx.conn.scalar(select(tokens.c.name).where(tokens.c.name == name)) is not None:
                raise Conflict(f"there is a token {name!r} already: revoke it or choose another")
            tx.conn.execute(
                insert(tokens).values(
                    name=name,
                    digest=digest(secret),
                    role=role,
                    created_at=now,
                    expires_at=expires_at,
                )
            )
            trail.write(tx, actor, "token.create", name, {"role": role.value}, now)

        self._db.write(operation, "token")
        return secret

    def list(self) -> list[Token]:
        """All tokens by name, expired ones as well."""
        statement = select(
            tokens.c.name, tokens.c.role, tokens.c.created_at, tokens.c.expires_at
        ).order_by(tokens.c.name)
        with self._db.read() as conn:
            rows = conn.execute(statement).all()
        return [
            Token(
                name=row.name,
                role=Role(row.role),
                created_at=row.created_at,
                expires_at=row.expires_at,
            )
            for row in rows
        ]

    def revoke(self, name: str, actor: str, *, keep_last: bool = False) -> None:
        """Forget a token. Raises Missing, and Conflict for the last usable one of an admin if it is
        to stay."""

        def operation(tx: Tx) -> None:
            now = self._db.clock.now()
            rows = tx.conn.execute(select(tokens.c.name, tokens.c.role, tokens.c.expires_at)).all()
            roles = {row.name: row.role for row in rows}
            if name not in roles:
                raise Missing(f"there is no token {name[:100]!r}")
            others = [
                row
                for row in rows
                if row.name != name
                and row.role == Role.ADMIN
                and (row.expires_at is None or row.expires_at > now)
            ]
            if keep_last and roles[name] == Role.ADMIN and not others:
                raise Conflict(
                    f"{name!r} is the last token of an admin, and nobody could make another one "
                    "without it: create that first"
                )
            tx.conn.execute(delete(tokens).where(tokens.c.name == name))
            trail.write(tx, actor, "token.revoke", name, {}, now)

        self._db.write(operation, "token")

    def check(self, secret: str) -> Checked:
        """Whose secret this is. Takes the same time for every wrong one."""
        wanted = digest(secret)
        now = self._db.clock.now()
        own = bool(self._own) and hmac.compare_digest(digest(self._own), wanted)
        found, role = (_LOCAL, Role.ADMIN) if own else (None, Role.VIEWER)
        with self._db.read() as conn:
            rows = conn.execute(_KNOWN).all()
        for row in rows:
            usable = row.expires_at is None or row.expires_at > now
            if hmac.compare_digest(row.digest, wanted) and usable:
                found, role = row.name, Role(row.role)
        return Checked(name=found, role=role, any=bool(rows))
