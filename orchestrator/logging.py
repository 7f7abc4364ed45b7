"""Logging of the daemon: structlog and the standard library's loggers in one form on stderr."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import Any, TextIO

import structlog
import structlog.tracebacks
from structlog.typing import Processor

# Their lines are of use to their authors; warnings and worse come through.
_QUIET = (
    "alembic",
    "apscheduler",
    "botocore",
    "boto3",
    "s3transfer",
    "urllib3",
    "uvicorn",
    "websockets",
    "asyncio",
)


class _Lines:
    """Writes what is logged, one line a call."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def msg(self, message: str) -> None:
        """Write a line. Who logs goes on where nobody listens any more, or the disk is full."""
        with self._lock, suppress(OSError, ValueError):
            self._out.write(message + "\n")
            self._out.flush()

    debug = info = warning = error = critical = exception = msg


def set_up(*, level: str = "info", json: bool = False, stream: TextIO | None = None) -> None:
    """Log from `level` on to `stream` (stderr): for people, or one JSON object a line.

    For people: colours on a terminal unless `NO_COLOR` is set, plain `key=value` elsewhere.
    """
    out = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderers = _renderers(json=json, colours=out.isatty() and not os.environ.get("NO_COLOR"))
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    lines = _Lines(out)
    # Straight to the stream: by way of the library's loggers a line costs twice as much, and there
    # is one for every job.
    structlog.configure(
        processors=[*shared, *renderers],
        logger_factory=lambda *_: lines,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=False,
    )


def _renderers(*, json: bool, colours: bool) -> list[Any]:
    if json:
        return [
            structlog.processors.ExceptionRenderer(
                # Local variables would hold what is secret, and cost seconds to write.
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(default=str),
        ]
    return [
        structlog.dev.ConsoleRenderer(
            colors=colours,
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]
