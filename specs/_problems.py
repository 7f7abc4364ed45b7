"""What is wrong with a file: place, reason, remedy. Every check adds to one list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]

MAX_PROBLEMS = 50
"""After so many problems the rest of a file is not looked at."""

_PLAIN_KEY = re.compile(r"[^\s.\[\]\"]+")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; None where there is no text."""

    path: Path
    message: str
    remedy: str
    line: int | None
    column: int | None
    file: str

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        where = f"{dotted(self.path)}: " if self.path else ""
        return f"{place}: {where}{sentence(self.message, self.remedy)}"


def sentence(message: str, remedy: str) -> str:
    """Reason and remedy in one: `'5x' is not a duration: write it as 10s`."""
    if not remedy:
        return message
    # A sentence of its own begins with a capital; names such as GET or RFC keep theirs.
    own = remedy[:1].isupper() and remedy[1:2].islower()
    return f"{message}: {remedy[0].lower() + remedy[1:] if own else remedy}"


class SpecError(Exception):
    """A file that cannot be used; `problems` holds all that was found, in the file's order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.line or 0, p.column or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[SpecError], tuple[list[Problem]]]:
        return SpecError, (self.problems,)


def collect(problems: list[Problem], problem: Problem) -> None:
    """Add a problem; raise SpecError once there are so many that more would help nobody.

    It also bounds the work on files that are meant to hurt.
    """
    problems.append(problem)
    if len(problems) >= MAX_PROBLEMS:
        raise SpecError(problems)


def dotted(path: Path) -> str:
    """Write a path for people: `job.Tasks[0].Env.LEVEL`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{quoted(part)}]"
    return text


def quoted(value: object) -> str:
    """Quote a value from a file for a message: short, on one line, without control characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…{text[-1]}"


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that was most likely meant, or None."""
    folded = {candidate.casefold(): candidate for candidate in candidates}
    plain = word.casefold().strip()
    if plain in folded:
        return folded[plain]
    squeezed = re.sub(r"[-_\s]", "", plain)
    for key, candidate in folded.items():
        if re.sub(r"[-_\s]", "", key) == squeezed:
            return candidate
    found = difflib.get_close_matches(plain[:100], folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def suggestion(word: str, candidates: Sequence[str]) -> str:
    """Return a remedy for an unknown word: the nearest right one, or all of them."""
    found = nearest(word, candidates)
    if found is not None:
        return f"Did you mean {found!r}?"
    return f"Known are {', '.join(sorted(candidates))}" if candidates else "None is known"
