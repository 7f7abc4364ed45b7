"""Named points at which a test lets the process die, as a power cut would.

`ORCH_FAILPOINTS="send.before=1,commit.accept.after=3"` kills the process with SIGKILL when the
point is reached for the given time. Unset, a point costs one look into an empty dictionary.
"""

from __future__ import annotations

import os
import signal
import threading

_lock = threading.Lock()


def _parse(text: str) -> dict[str, int]:
    armed: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, count = item.partition("=")
        armed[name] = int(count or "1")
    return armed


_armed = _parse(os.environ.get("ORCH_FAILPOINTS", ""))


def reach(name: str) -> None:
    """Pass the point `name`; die here if a test has asked for it."""
    if not _armed or name not in _armed:
        return
    with _lock:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
