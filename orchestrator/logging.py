"""Logging of the daemon: structlog and the standard library's loggers in one form on stderr."""

from __future__ import annotations

import logging
import os
import sys
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


def set_up(*, level: str = "info", json: bool = False, stream: TextIO | None = None) -> None:
    """Log from `level` on to `stream` (stderr): for people, or one JSON object a line.

    For people: colours on a terminal unless `NO_COLOR` is set, plain `key=value` elsewhere.
    """
    out = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(json=json, colours=out.isatty() and not os.environ.get("NO_COLOR")),
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
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
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
