"""How a command fails: one or more lines on stderr and an exit code, never a stack trace."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130
_PIPE_CLOSED = 141  # what a shell reports of a program that SIGPIPE ended


class CliError(Exception):
    """The command cannot be carried out; the message names place, reason and remedy."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        self.code = code
        super().__init__(message)


def usage(message: str) -> CliError:
    """An option or argument that makes no sense."""
    return CliError(message, USAGE)


def debugging() -> bool:
    """Whether `ORCH_DEBUG` asks for stack traces."""
    return os.environ.get("ORCH_DEBUG", "") not in ("", "0")


def say(text: str) -> None:
    """Write a line for people on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def end_with(error: BaseException) -> NoReturn:
    """Report what ended a command and leave with its exit code."""
    if debugging():
        traceback.print_exception(error)
    if isinstance(error, CliError):
        say(_prefixed(str(error)))
        raise SystemExit(error.code)
    if isinstance(error, KeyboardInterrupt):
        raise SystemExit(INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        # The reader has what it wanted; the interpreter must not fail at its last flush either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_PIPE_CLOSED)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        say(f"orch: {place}{error.strerror or error}")
        raise SystemExit(FAILED)
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    say(f"orch: unexpected: {reason[:2000]}")
    if not debugging():
        say("This is a fault of orch. ORCH_DEBUG=1 shows where; please report it.")
    raise SystemExit(FAILED)


def _prefixed(message: str) -> str:
    lines = message.splitlines() or [""]
    if message.startswith("Usage:"):
        return message
    return "\n".join([f"orch: {lines[0]}", *lines[1:]])
