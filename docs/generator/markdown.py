"""Markdown, as far as the reference needs it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MADE = "<!-- Made by `make docs` from the code. Change the code, not this page. -->"


def page(title: str, *parts: str) -> str:
    """A page with its title and what follows, each part in a paragraph of its own."""
    return "\n\n".join([MADE, f"# {title}", *(part.strip() for part in parts if part)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell may hold anything, pipes and line ends included."""
    lines = [
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
    ]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(text: object) -> str:
    """Text as it is written, for a cell or a sentence."""
    return f"`{text}`" if str(text) else ""


def sentence(text: str) -> str:
    """A docstring or help text on one line, marked-up code kept as Markdown's."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


def fenced(text: str, language: str = "text") -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
