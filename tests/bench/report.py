"""What a benchmark yields, and the table in which people read it."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_FSYNCS = 50


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: what was measured for orch and, in the same run, for what it is compared with.

    `ratio` is orch's figure over the peer's. `n` says how many of what were measured.
    """

    what: str
    unit: str
    orch: float
    peer: float | None = None
    n: str
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the peer's figure orch's is; None without a peer."""
        return None if not self.peer else self.orch / self.peer


def as_json(row: Row) -> dict[str, Any]:
    """A row for `--json`."""
    return {**asdict(row), "ratio": row.ratio}


def fsync_ms(directory: Path) -> float:
    """The median time of an fsync after a small write in `directory`, milliseconds."""
    file = directory / "fsync.probe"
    taken: list[float] = []
    with file.open("wb") as stream:
        for _ in range(_FSYNCS):
            stream.write(b"x" * 4096)
            stream.flush()
            begin = time.perf_counter()
            os.fsync(stream.fileno())
            taken.append((time.perf_counter() - begin) * 1000)
    file.unlink()
    return statistics.median(taken)


def machine(directory: Path) -> dict[str, Any]:
    """Where the figures were measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "load": round(os.getloadavg()[0], 2),
        "fsync_ms": round(fsync_ms(directory), 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def headline(facts: dict[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{facts['cores']} cores (load {facts['load']} at the start), {facts['memory_gb']} GB, "
        f"fsync {facts['fsync_ms']} ms, {facts['system']}, Python {facts['python']}, "
        f"SQLite {facts['sqlite']}"
    )


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a table; wide enough to be read in a file as well."""
    width = None if sys.stdout.isatty() else 150
    console = Console(width=width, highlight=False)
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("what")
    for name in ("orch", "peer", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("n")
    table.add_column("note")
    for row in rows:
        table.add_row(
            row.what,
            _figure(row.orch, row.unit),
            "" if row.peer is None else _figure(row.peer, row.unit),
            "" if row.ratio is None else f"{row.ratio:,.2f}",
            row.n,
            row.note,
        )
    console.print(table)


def _figure(value: float, unit: str) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def write_json(file: Path, facts: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write everything to `file`."""
    document = {"machine": facts, "rows": [as_json(row) for row in rows]}
    file.write_text(json.dumps(document, indent=2) + "\n")


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of them lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
