"""Copies of a service: when the next life begins, how many there should be. Pure.

A *life* is one job of a copy. It is a good one if it lasted for a while, or got something done; a
copy whose lives are not waits ever longer before the next.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

LIFE_OVER = "its life was over"
"""Why a job is stopped that has lived for as long as it may: that is how lives end."""
CHECKPOINT = "orch.checkpoint"
CHECKPOINT_AT_MOST = 16 * 1024
"""Bytes of a checkpoint as JSON."""
LOOP = 3
"""From so many bad lives in a row on, people are told of a crash loop."""
_KEY = re.compile(r"copy-(?P<name>[0-9]{1,6})/(?P<life>[0-9]{1,15})", re.ASCII)
_DOUBLINGS = 40


class BadCheckpoint(ValueError):
    """A task has printed a checkpoint that cannot be kept; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """How long a copy waits. Times in microseconds."""

    initial: int
    max: int
    healthy_after: int


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What follows a life: so many bad ones in a row, and how long to wait."""

    failures: int
    wait: int


def life_key(copy: str, life: int) -> str:
    """The key of a life's run."""
    return f"copy-{copy}/{life}"


def read_life_key(key: str) -> tuple[str, int] | None:
    """The copy and the number of a key that `life_key` has made; None for others."""
    found = _KEY.fullmatch(key)
    return None if found is None else (found["name"], int(found["life"]))


def after_life(
    pause: Pause,
    *,
    failures: int,
    lived: int,
    well: bool,
    moved: bool,
    jitter: Callable[[], float],
) -> Rest:
    """What follows a life that has lasted `lived` microseconds.

    `failures` counts the bad lives before it, `well` says whether it ended without an error,
    `moved` whether it has reported another checkpoint; `jitter` yields [0, 1).
    """
    if well and lived >= pause.healthy_after:
        return Rest(failures=0, wait=0)
    if well and moved:
        return Rest(failures=0, wait=pause.initial)
    failures = 1 if lived >= pause.healthy_after else failures + 1
    longest = min(pause.max, pause.initial * 2 ** min(failures - 1, _DOUBLINGS))
    # Half of it at random: copies that fail together do not come back together.
    return Rest(failures=failures, wait=int(longest * (0.5 + jitter() / 2)))


def wanted_copies(value: float, target: float, least: int, most: int) -> int:
    """How many copies there should be for so much work."""
    return max(least, min(most, math.ceil(value / target)))


def checkpoint_in(stdout: str) -> str | None:
    """The checkpoint that the first line of an output names, as JSON; None if it is no such line.
    Raises BadCheckpoint."""
    line, newline, _ = stdout.lstrip("\ufeff").partition("\n")
    if not line.lstrip().startswith("{") or f'"{CHECKPOINT}"' not in line:
        return None
    if not newline and not line.rstrip().endswith("}"):
        raise BadCheckpoint("the checkpoint was cut off: print it first, in less than 2,048 bytes")
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"the checkpoint is no JSON: {error}") from error
    said = cast("dict[str, Any]", found)
    if CHECKPOINT not in said:
        return None
    return written(said[CHECKPOINT])


def written(checkpoint: Any) -> str:
    """A checkpoint as it is kept. Raises BadCheckpoint."""
    try:
        text = json.dumps(checkpoint, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"the checkpoint is no JSON: {error}") from error
    if size > CHECKPOINT_AT_MOST:
        raise BadCheckpoint(f"the checkpoint has {size:,} bytes, at most {CHECKPOINT_AT_MOST:,}")
    if "\\u0000" in text.replace("\\\\", ""):
        raise BadCheckpoint("the checkpoint holds a NUL character")
    return text
