"""What commands print: JSON for programs, tables and short sentences for people."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

ONE_PARTITION = "schedule"  # of triggers whose runs are for due times, or asked for
_GAP = 2  # spaces between the columns of a table
_READABLE = 16  # characters of a column with sentences
_WORD = 40  # characters that stay together: ids do
_LEAST = (12, 8)  # characters of a column that is cut, and where that is not enough
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( [+-]\d{4})?")


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
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    cut: Sequence[str] = (),
    ends: Sequence[str] = (),
) -> None:
    """Write an aligned table: as wide as the terminal, or as it needs where there is none.

    On a terminal too narrow for all of it, columns without content are left out first. Words and
    times stay whole, so that they can be copied, and sentences are folded. Where that is not
    enough, columns of `cut`, which are never folded, lose their end, or their middle if they are
    of `ends` too, the first one first; where there are none, lines are longer than the terminal.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(clean(cell), style=style(cell)) for cell in row] for row in rows]
    if _too_wide(columns, cells):
        kept = [n for n in range(len(columns)) if any(row[n].plain for row in cells)]
        columns = [columns[n] for n in kept]
        cells = [[row[n] for n in kept] for row in cells]
    firm = {n for n, column in enumerate(columns) if column in cut}
    widths = _widths([[Text(name) for name in columns], *cells], firm, _room())
    widths = _cut(columns, widths, cut, _room())
    shown = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for n, (column, width) in enumerate(zip(columns, widths, strict=True)):
        shown.add_column(
            column,
            overflow="ellipsis" if n in firm else "fold",
            no_wrap=n in firm,
            width=width,
            justify="right" if column in right else "left",
        )
        for row in cells if column in ends else ():
            row[n].plain = _ends(row[n].plain, width)
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


def wide(columns: int) -> bool:
    """Whether a line may have so many columns."""
    room = _room()
    return room is None or room >= columns


def _too_wide(columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> bool:
    room = _room()
    if room is None or not cells:
        return False
    widths = [max(len(name), *(row[n].cell_len for row in cells)) for n, name in enumerate(columns)]
    return sum(widths) + _GAP * (len(widths) - 1) > room


def _widths(cells: Sequence[Sequence[Text]], firm: Collection[int], room: int | None) -> list[int]:
    """How wide each column is: the last ones give way first, down to their longest words; those of
    `firm` do not."""
    from rich.cells import cell_len

    columns = list(zip(*cells, strict=True))
    widths = [max(text.cell_len for text in column) for column in columns]
    if room is None:
        return widths
    over = sum(widths) + _GAP * (len(widths) - 1) - room
    # Sentences in a very narrow column are hard to read: dates give way before the last becomes so.
    for least in (_READABLE, 0):
        for n in reversed(range(len(widths))):
            if n in firm:
                continue
            word = max(cell_len(word) for text in columns[n] for word in _words(text.plain))
            sentences = n == len(widths) - 1
            narrow = min(widths[n], max(min(word, _WORD), least if sentences else 0))
            widths[n] = max(narrow, widths[n] - max(over, 0))
            over = sum(widths) + _GAP * (len(widths) - 1) - room
    return widths


def _words(text: str) -> list[str]:
    """What stays together of a text."""
    return [text] if _TIME.fullmatch(text) else text.split(" ")


def _cut(
    columns: Sequence[str], widths: Sequence[int], cut: Sequence[str], room: int | None
) -> list[int]:
    """How wide each column is where what may be cut gives way."""
    found = list(widths)
    if room is None:
        return found
    for least in _LEAST:
        for name in (name for name in cut if name in columns):
            over = sum(found) + _GAP * (len(found) - 1) - room
            n = columns.index(name)
            found[n] = min(found[n], max(found[n] - max(over, 0), least, len(name)))
    return found


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
    """Write names and values below each other; a value may have several lines, and on a terminal
    long ones are folded."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        heading = name
        for one in str(value).splitlines() or ["-"]:
            for part in _folded(clean(one), width + 2):
                line(f"{heading:<{width}}  {part}".rstrip())
                heading = ""


def _folded(text: str, indent: int) -> list[str]:
    """Text as the lines that fit the terminal beside an indent."""
    room = _room()
    if room is None or indent + len(text) <= room:
        return [text]
    wide = max(room - indent, _READABLE)
    return textwrap.wrap(text, wide, break_on_hyphens=False, drop_whitespace=False) or [""]


def middle(text: str, indent: int) -> str:
    """A name whose ends tell it apart, without its middle where it does not fit the terminal."""
    room = _room()
    return text if room is None else _ends(text, max(room - indent, _READABLE))


def _ends(text: str, width: int) -> str:
    """A name in so many characters: its beginning and its end."""
    if len(text) <= width:
        return text
    left = width - 1
    return f"{text[: left - left // 3]}…{text[-(left // 3) :]}"


def telling_exit_code(code: int | None, succeeded: bool) -> int | None:
    """An exit code that says something: the node shows -1 for a WebAssembly task that returned
    without calling exit."""
    return None if code == -1 and succeeded else code


def more(page: Mapping[str, Any]) -> None:
    """Tell people how to go on where a list has another page."""
    if page.get("next"):
        print(f"more: --cursor {page['next']}", file=sys.stderr)  # noqa: T201


def count(number: int, thing: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
