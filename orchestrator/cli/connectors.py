"""`orch connectors`."""

from __future__ import annotations

import typer

from orchestrator.cli.options import Json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def connectors(as_json: Json = False) -> None:
    """List the connectors that are installed here, and why one cannot be used."""
    from connectors.registry import Registry
    from orchestrator.cli import output

    found = list(Registry.load())
    if as_json:
        items = [
            {
                "kind": r.kind,
                "version": r.version,
                "summary": r.summary,
                "origin": r.origin,
                "error": r.error,
            }
            for r in found
        ]
        output.as_json({"items": items, "next": None})
        return
    output.table(
        ("KIND", "VERSION", "ORIGIN", "WHAT"),
        [(r.kind, r.version or "-", r.origin, r.error or r.summary or "") for r in found],
    )
