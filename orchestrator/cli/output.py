"""What commands print: JSON for programs, tables and short sentences for people."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

_GAP = 2  # spaces between the columns of a table
_READABLE = 16  # characters of a column with sentences
_WORD = 40  # characters that stay together: ids do


def line(text: str = "") -> None:
    """Write a line."""
    sys.stdout.write(f"{text}\n")


def as_json(data: Any) -> None:
    """Write one JSON document."""
    json.dump(data, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def listing(found: Iterable[Any]) -> None:
    """Write a list as `as_json` would, one item after the other."""
    sys.stdout.write('{\n  "items": [')
    glue = "\n    "
    for item in found:
        text = json.dumps(item, indent=2, ensure_ascii=False)
        sys.stdout.write(glue + text.replace("\n", "\n    "))
        glue = ",\n    "
    end = "]" if glue == "\n    " else "\n  ]"
    sys.stdout.write(f'{end},\n  "next": null\n}}\n')


def coloured() -> bool:
    """Whether colours are of use and wanted."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def clean(text: object, most: int = 2000) -> str:
    """Text from outside on one line, without control characters that a terminal would obey."""
    short = str(text)[:most]
    return "".join(c if c.isprintable() else "�" if c not in "\r\n\t" else " " for c in short)


def clock(text: str | None) -> str:
    """An API time in the local zone: `2026-03-29 03:00:00`."""
    if not text:
        return "-"
    there = datetime.fromisoformat(text.replace("Z", "+00:00"))
    here = there.astimezone()
    shown = here.strftime("%Y-%m-%d %H:%M:%S")
    # A time in the other half of the year: say so where the clocks differ.
    odd = here.utcoffset() != datetime.now().astimezone().utcoffset()
    return f"{shown} {here.strftime('%z')}" if odd else shown


def zone() -> str:
    """The local zone's short name, for headings."""
    return datetime.now().astimezone().tzname() or "local"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """Write an aligned table: as wide as the terminal, or as it needs where there is none.

    Ids stay whole, so that they can be copied. Where they do not fit, lines are longer than the
    terminal.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(clean(cell), style=style(cell)) for cell in row] for row in rows]
    widths = _widths([[Text(name) for name in columns], *cells], _room())
    shown = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        shown.add_column(
            column, overflow="fold", width=width, justify="right" if column in right else "left"
        )
    for row in cells:
        shown.add_row(*row)
    console = Console(
        file=sys.stdout,
        width=sum(widths) + _GAP * len(widths),
        no_color=not coloured(),
        force_terminal=coloured(),
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as captured:
        console.print(shown)
    for text in captured.get().splitlines():
        line(text.rstrip())


def _room() -> int | None:
    """Columns of the terminal; None where nothing bounds a line."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def _widths(cells: Sequence[Sequence[Text]], room: int | None) -> list[int]:
    """How wide each column is: the last ones give way first, down to their longest words."""
    from rich.cells import cell_len

    columns = list(zip(*cells, strict=True))
    widths = [max(text.cell_len for text in column) for column in columns]
    if room is None:
        return widths
    over = sum(widths) + _GAP * (len(widths) - 1) - room
    # Sentences in a very narrow column are hard to read: dates give way before the last becomes so.
    for least in (_READABLE, 0):
        for n in reversed(range(len(widths))):
            word = max(cell_len(word) for text in columns[n] for word in text.plain.split(" "))
            sentences = n == len(widths) - 1
            narrow = min(widths[n], max(min(word, _WORD), least if sentences else 0))
            widths[n] = max(narrow, widths[n] - max(over, 0))
            over = sum(widths) + _GAP * (len(widths) - 1) - room
    return widths


_STYLES = {
    "succeeded": "green",
    "active": "green",
    "ok": "green",
    "dead": "red",
    "failed": "red",
    "running": "cyan",
    "submitting": "cyan",
    "paused": "yellow",
    "away": "yellow",
    "cancelled": "yellow",
}


def style(cell: object) -> str:
    """How a state looks where there are colours."""
    return _STYLES.get(str(cell), "")


def facts(pairs: Mapping[str, object]) -> None:
    """Write names and values below each other; a value may have several lines."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        first, *rest = str(value).splitlines() or ["-"]
        line(f"{name:<{width}}  {clean(first)}".rstrip())
        for more in rest:
            line(f"{'':<{width}}  {clean(more)}".rstrip())


def more(page: Mapping[str, Any]) -> None:
    """Tell people how to go on where a list has another page."""
    if page.get("next"):
        print(f"more: --cursor {page['next']}", file=sys.stderr)  # noqa: T201


def count(number: int, thing: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
