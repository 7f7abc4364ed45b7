"""Waiting for a condition, with a deadline and a word about what did not come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_STEP = 0.02  # seconds between two looks


def until(
    condition: Callable[[], T | None],
    what: str,
    *,
    within: float = 20.0,
    show: Callable[[], Any] | None = None,
) -> T:
    """Look until `condition` yields something true and return it; AssertionError after `within`.

    `show` tells how things stand, for the error.
    """
    pause = threading.Event()
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            state = "" if show is None else f": {show()}"
            raise AssertionError(f"not within {within:g} s: {what}{state}")
        pause.wait(_STEP)
