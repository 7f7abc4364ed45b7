"""How far the listings of a bucket have come: what is kept between two polls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Instants are microseconds since 1970, by the service's clock."""

    floor: int
    """Nothing that was modified before counts: where the trigger has started."""
    mark: int | None = None
    """When the last whole pass began; None: there was none yet."""
    began: int | None = None
    """When the pass under way began; None: none is."""
    after: str = ""
    """The key up to which that pass has come."""

    def __str__(self) -> str:
        written = {
            "v": _VERSION,
            "floor": self.floor,
            "mark": self.mark,
            "began": self.began,
            "after": self.after,
        }
        return json.dumps(written, separators=(",", ":"))


def parse(text: str) -> Cursor:
    """The inverse of ``str``. Raises ValueError."""
    data: Any = json.loads(text)
    match data:
        case {
            "v": int(version),
            "floor": int(floor),
            "mark": int() | None as mark,
            "began": int() | None as began,
            "after": str(after),
        } if version == _VERSION:
            return Cursor(floor=floor, mark=mark, began=began, after=after)
        case _:
            raise ValueError(f"{text[:80]!r} is not how far a listing has come")
