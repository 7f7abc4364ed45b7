"""The access log as a file, in the form that every tool for web servers reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

_FILE_BYTES = 10 * 1000 * 1000
_FILES = 3
ACTOR = "orch.actor"  # the key of who asks in a request's scope
ROLE = "orch.role"  # what whoever asks may do


def access_log(data_dir: Path) -> Path:
    """Where the access log of a data directory stands."""
    return data_dir / "logs" / "access.log"


class AccessLog:
    """A file that is rotated by size: one line a request, in the combined format."""

    def __init__(self, data_dir: Path) -> None:
        path = access_log(data_dir)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._handler = RotatingFileHandler(
            path, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8", delay=True
        )

    def write(self, line: str) -> None:
        """Write one line. A full disk is told on stderr and stops nothing."""
        self._handler.handle(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._handler.close()


def combined(scope: Mapping[str, Any], method: str, path: str, status: int, size: int) -> str:
    """A line of the combined log format; the path without its query."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    client: Any = scope.get("client") or ("-", 0)
    user = scope.get(ACTOR, "-")
    at = datetime.now().astimezone().strftime("%d/%b/%Y:%H:%M:%S %z")
    agent = clean(headers.get(b"user-agent", b"-").decode("latin-1"))
    version = scope.get("http_version", "1.1")
    return (
        f'{client[0]} - {user} [{at}] "{method} {path} HTTP/{version}" {status} {size} '
        f'"-" "{agent}"'
    )


def clean(text: str) -> str:
    """Text of a request as it may stand in a log: on one line, with no quote to break out of."""
    return "".join(
        c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in text[:2000]
    )
