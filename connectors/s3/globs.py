"""Which keys are wanted: globs whose parts stand between slashes.

``*`` and ``?`` stop at a slash, ``[abc]`` is one character of a set, ``[!abc]`` one of no set, and
a part that is ``**`` stands for any number of parts, also none. Matching takes time in proportion
to the key's length times the glob's, whatever either of them holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from connectors.fields import error
from connectors.validation import shown

MAX_GLOB = 1024  # characters

_ANY = "**"


class Glob:
    """One glob, ready to use."""

    def __init__(self, text: str) -> None:
        """Raises :class:`connectors.abc.SettingsError`, whose problem has no path."""
        if not 1 <= len(text) <= MAX_GLOB:
            raise error(f"a glob of {len(text)} characters", f"write 1 to {MAX_GLOB}")
        self._blocks: list[list[re.Pattern[str]]] = [[]]
        for part in text.removeprefix("/").split("/"):
            if part == _ANY:
                self._blocks.append([])
            elif _ANY in part:
                raise error(
                    f"{shown(text)} has ** beside something else",
                    "write ** alone between slashes, such as **/*.log",
                )
            else:
                self._blocks[-1].append(_pattern(part, text))

    def matches(self, key: str) -> bool:
        """Whether the glob stands for the whole of a key."""
        parts = key.removeprefix("/").split("/")
        first, *others = self._blocks
        if not _begins(first, parts, 0):
            return False
        place = len(first)
        if not others:
            return place == len(parts)
        *inner, last = others
        for block in inner:
            # The first place where a block fits leaves most to those that follow.
            found = next(
                (at for at in range(place, len(parts) + 1) if _begins(block, parts, at)), None
            )
            if found is None:
                return False
            place = found + len(block)
        end = len(parts) - len(last)
        return end >= place and _begins(last, parts, end)


def _begins(block: Sequence[re.Pattern[str]], parts: Sequence[str], at: int) -> bool:
    return at + len(block) <= len(parts) and all(
        pattern.fullmatch(parts[at + n]) for n, pattern in enumerate(block)
    )


def _pattern(part: str, whole: str) -> re.Pattern[str]:
    """One part as a pattern without backtracking: behind a star, the first fit is taken."""
    pieces: list[str] = [""]
    at = 0
    while at < len(part):
        match part[at]:
            case "*":
                pieces.append("")
                at += 1
            case "?":
                pieces[-1] += "."
                at += 1
            case "[":
                text, at = _set(part, at, whole)
                pieces[-1] += text
            case character:
                pieces[-1] += re.escape(character)
                at += 1
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    first, *inner, last = pieces
    middle = "".join(f"(?>.*?{piece})" for piece in inner if piece)
    return re.compile(f"{first}{middle}.*{last}", re.DOTALL)


def _set(part: str, at: int, whole: str) -> tuple[str, int]:
    """The set that begins at a place, as a pattern, and where it ends."""
    begin = at + 1
    negated = part[begin : begin + 1] in ("!", "^")
    begin += negated
    end = part.find("]", begin + 1)
    if end < 0:
        raise error(f"{shown(whole)} has a [ without its ]", "close it, or write [[] for a [")
    members = part[begin:end]
    low = 0
    text = ""
    while low < len(members):
        if members[low + 1 : low + 2] == "-" and low + 2 < len(members):
            first, last = members[low], members[low + 2]
            if first > last:
                raise error(f"{shown(whole)} has the range {first}-{last}", "turn it round")
            text += f"{re.escape(first)}-{re.escape(last)}"
            low += 3
        else:
            text += re.escape(members[low])
            low += 1
    return f"[{'^' if negated else ''}{text}]", end + 1
