"""Runs the daemon in this process until a signal ends it."""

from __future__ import annotations

import gc
import os
import select
import signal
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from orchestrator import logging
from orchestrator.app import App
from orchestrator.cli.errors import CliError
from orchestrator.config import Config
from orchestrator.store.errors import StoreError

_KILLED = 128


@contextmanager
def handled(*numbers: signal.Signals) -> Generator[Callable[[float | None], bool]]:
    """Yields a function that waits for one of the signals, at most so many seconds.

    It returns whether one came, also before the wait. A further one ends the process at once, up
    to its very end: the handlers of before would only show where it was.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # A handler in Python runs once the main thread does something. While that sleeps, only the
    # descriptor wakes it up, whichever thread the system has given the signal to.
    waking = signal.set_wakeup_fd(writer)
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(_KILLED + number)
        asked = True

    earlier = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield lambda timeout: bool(select.select([reader], [], [], timeout)[0])
    finally:
        if not asked:
            for number, handler in earlier.items():
                signal.signal(number, handler)
        signal.set_wakeup_fd(waking)
        os.close(reader)
        os.close(writer)


def build_app(config: Config) -> App:
    """The daemon, not started. Raises CliError for what a person can mend."""
    try:
        return App(config)
    except StoreError as error:
        raise CliError(str(error)) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        reason = str(getattr(error, "orig", None) or error)
        raise CliError(f"the database cannot be used: {reason}") from error
    except OSError as error:
        place = error.filename or config.data_dir
        raise CliError(f"{place}: {error.strerror}: choose another --data-dir") from error
    except ValueError as error:
        raise CliError(str(error)) from error


def start_app(app: App) -> None:
    """Start it; where that fails, nothing is left running."""
    try:
        app.start()
    except BaseException as error:
        app.stop()
        if isinstance(error, StoreError | OSError | ValueError):
            raise CliError(str(error)) from error
        raise
    # What is loaded now stays: looking through it again and again for garbage would hold up every
    # thread for some 60 ms each time, in the middle of a busy second.
    gc.freeze()


def run_daemon(config: Config) -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.set_up(level=config.log_level, json=config.log_json)
    with handled(signal.SIGTERM, signal.SIGINT) as wait:
        app = build_app(config)
        start_app(app)
        try:
            wait(None)
        finally:
            app.stop()
