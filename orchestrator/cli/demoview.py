"""What the demo shows: the runs as they end, in a live table or as plain lines."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from orchestrator.cli import output, times
from orchestrator.cli.errors import CliError
from orchestrator.cli.http import Api, segment
from orchestrator.domain.clock import SECOND, from_rfc3339, to_rfc3339

if TYPE_CHECKING:
    from rich.live import Live

_KEPT = 15  # rows
_TEXT = 100  # characters of a line of output
_OPEN = ("pending", "submitting", "running")
_PAGE = 1000  # runs of the first look
_NEW = 200  # of each further one
_LATE = 3 * SECOND  # how long after its due time a run may come into the ledger
_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run as the demo shows it."""

    id: str
    due: str
    trigger: str
    state: str
    attempt: int
    exit_code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at the orchestrator has found."""

    open: Sequence[Row]
    ended: Sequence[Row]  # since the look before, the oldest first
    skipped: int
    trouble: str


class Feed:
    """Asks for what is new: runs that are open, those due since the look before, and what became
    of the ones that were open then.

    A run that had ended before `begun` (µs) is of a session before.
    """

    def __init__(self, api: Api, begun: int) -> None:
        self._api = api
        self._begun = begun
        self._asked: int | None = None
        self._open: set[str] = set()
        self._seen: dict[str, None] = {}
        self.succeeded: Counter[str] = Counter()

    def look(self) -> Look:
        """What is open and what has ended since the look before."""
        try:
            found = self._ask()
        except CliError as error:
            return Look(open=(), ended=(), skipped=0, trouble=str(error).splitlines()[0])
        open_rows: list[Row] = []
        ended: list[Row] = []
        skipped = 0
        self._open.clear()
        for run in sorted(found.values(), key=lambda run: from_rfc3339(run["due_at"])):
            if run["state"] in _OPEN:
                self._open.add(run["id"])
                open_rows.append(row(run))
            elif run["id"] not in self._seen:
                self._seen[run["id"]] = None
                if from_rfc3339(run["ended_at"]) < self._begun:
                    continue
                if run["state"] == "skipped":
                    skipped += 1
                    continue
                self.succeeded[run["trigger"]] += run["state"] == "succeeded"
                ended.append(row(run))
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return Look(open=open_rows, ended=ended, skipped=skipped, trouble="")

    def _ask(self) -> dict[str, dict[str, Any]]:
        """Runs by their ids."""
        now = times.now()
        since = None if self._asked is None else to_rfc3339(self._asked - _LATE)
        # The first look goes back to where the session before has ended.
        new = self._api.get("runs", since=since, limit=_NEW if since else _PAGE)["items"]
        found = {run["id"]: run for run in new}
        for run in self._api.get("runs", state=_OPEN, limit=_NEW)["items"]:
            found.setdefault(run["id"], run)
        for run_id in sorted(self._open - found.keys())[:_NEW]:
            found[run_id] = self._api.get(f"runs/{segment(run_id)}")
        self._asked = now
        return found


def row(run: Mapping[str, Any]) -> Row:
    """A run of the API as a row."""
    attempts: Sequence[Mapping[str, Any]] = run["attempts"]
    last: Mapping[str, Any] = attempts[-1] if attempts else {}
    return Row(
        id=run["id"],
        due=output.clock(run["due_at"])[11:19],
        trigger=run["trigger"],
        state=run["state"],
        attempt=len(attempts),
        exit_code=_exit_code(run["state"], last.get("exit_code")),
        text=readable(str(last.get("stdout") or "")) or str(run["reason"] or ""),
    )


def _exit_code(state: str, code: int | None) -> str:
    if code is None or state in _OPEN:
        return ""
    return "ok" if state == "succeeded" else str(code)


def readable(stdout: str) -> str:
    """The first line of what a task wrote; the counts of the counting task in words."""
    first = stdout.strip().partition("\n")[0]
    try:
        counts: Any = json.loads(first)
        lines, statuses, levels = counts["lines"], counts["status"], counts["levels"]
    except (ValueError, KeyError, TypeError):
        return first
    parts = [f"{lines:,} lines"]
    parts += [f"{name} {n:,}" for group in (statuses, levels) for name, n in group.items()]
    return "  ".join(parts)


class View(ABC):
    """Shows looks while it is entered."""

    def note(self, text: str) -> None:
        """A line that stays."""
        output.line(text)
        sys.stdout.flush()

    def __enter__(self) -> Self:
        """Begin to show."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show no more."""
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Begin to show."""

    @abstractmethod
    def close(self) -> None:
        """Leave the last state standing."""

    @abstractmethod
    def show(self, look: Look) -> None:
        """Bring what is shown up to date."""


class Lines(View):
    """One line for each run that has ended; for pipes and files."""

    def __init__(self) -> None:
        self._trouble = ""

    def open(self) -> None:
        """Lines need no beginning."""

    def close(self) -> None:
        """Nor an end."""

    def show(self, look: Look) -> None:
        """Write what is new."""
        if look.skipped:
            output.line(f"{output.count(look.skipped, 'firing')} skipped")
        for one in look.ended:
            exit_code = f"exit {one.exit_code}" if one.exit_code else ""
            head = f"{one.due}  {one.trigger:<14}  {one.state:<9}"
            text = output.clean(one.text, _TEXT)
            output.line(f"{head}  attempt {one.attempt}  {exit_code:<7}  {text}".rstrip())
        if look.trouble != self._trouble:
            self._trouble = look.trouble
            if look.trouble:
                output.line(look.trouble)
        sys.stdout.flush()


class LiveTable(View):
    """A table on the terminal: what is open, and below it what has ended."""

    def __init__(self) -> None:
        self._rows: deque[Row] = deque(maxlen=_KEPT)
        self._ended: Counter[str] = Counter()
        self._live: Live | None = None

    def open(self) -> None:
        """Begin to draw."""
        from rich.console import Console
        from rich.live import Live

        console = Console(no_color=not output.coloured())
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def show(self, look: Look) -> None:
        """Draw it anew."""
        self._rows.extend(look.ended)
        for one in look.ended:
            self._ended[one.state] += 1
        self._ended["skipped"] += look.skipped
        if self._live is not None:
            self._live.update(self._table(look), refresh=True)

    def _table(self, look: Look) -> Any:
        from rich.table import Table
        from rich.text import Text

        counts = ", ".join(f"{n:,} {state}" for state, n in self._ended.items() if n)
        caption = look.trouble or f"{counts or 'no run has ended yet'}  (Ctrl-C ends it)"
        table = Table(
            box=None,
            pad_edge=False,
            expand=True,
            header_style="bold",
            caption=Text(output.clean(caption)),
            caption_justify="left",
        )
        shown = [*self._rows, *look.open[:5]]
        longest = min(max((len(one.trigger) for one in shown), default=0), 30)
        widths = {"DUE": 8, "TRIGGER": max(longest, 7), "STATE": 10, "TRY": 3, "EXIT": 4}
        for name, width in widths.items():
            table.add_column(name, no_wrap=True, width=width)
        table.add_column("OUTPUT", no_wrap=True, overflow="ellipsis", ratio=1)
        for one in shown:
            cells = (
                one.due,
                one.trigger,
                one.state,
                str(one.attempt or ""),
                one.exit_code,
                one.text,
            )
            table.add_row(
                *(Text(output.clean(c), style=output.style(c)) for c in cells),
            )
        return table


def choose_view() -> View:
    """A live table on a terminal, lines elsewhere."""
    return LiveTable() if sys.stdout.isatty() else Lines()
