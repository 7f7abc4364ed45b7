"""`orch trail`."""

from __future__ import annotations

import json

import typer

from orchestrator.cli.options import Cursor, Json, Limit, Url

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
                json.dumps(entry["detail"], ensure_ascii=False) if entry["detail"] else "",
            )
            for entry in page["items"]
        ],
        cut=("WHO", "SUBJECT"),
    )
    output.more(page)
