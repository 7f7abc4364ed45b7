"""`orch trail`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from orchestrator.cli.options import Cursor, Json, Limit, Url

_ELSEWHERE = frozenset({"uid", "count", "note", "reason"})  # of no use, or shown by itself

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def trail(
    limit: Limit = 100, cursor: Cursor = None, url: Url = None, as_json: Json = False
) -> None:
    """Show the audit trail: who registered, changed, paused, cancelled what; the newest first."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    page = Api(url).get("trail", limit=limit, cursor=cursor)
    if as_json:
        output.as_json(page)
        return
    if not page["items"]:
        output.line("nobody has done anything yet")
        return
    output.table(
        (f"AT ({output.zone()})", "WHO", "WHAT", "SUBJECT", "DETAIL"),
        [
            (
                output.clock(entry["at"]),
                entry["actor"],
                entry["action"],
                entry["subject"],
                _told(entry["action"], entry["subject"], entry["detail"]),
            )
            for entry in page["items"]
        ],
        cut=("WHO", "SUBJECT"),
    )
    output.more(page)


def _told(action: str, subject: str, detail: Mapping[str, Any]) -> str:
    """What an entry says of what was done, in words: `2 runs: a reason`."""
    from orchestrator.cli import output

    parts: list[str] = []
    if "count" in detail:
        parts.append(output.count(detail["count"], "job" if action == "job" else "run"))
    for key, value in detail.items():
        if key in _ELSEWHERE or value in (None, "", [], {}, False, subject):
            continue
        parts.append(key if value is True else f"{key} {_plain(value)}")
    why = detail.get("note") or detail.get("reason") or ""
    return ": ".join(part for part in (", ".join(parts), why) if part)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={item}" for key, item in value.items())  # pyright: ignore[reportUnknownVariableType]
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
