"""`orch checkpoints`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import completion
from orchestrator.cli.options import Json, Url

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="How far each partition of a trigger has been read.",
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def show(
    trigger: Annotated[
        str | None,
        typer.Argument(help="Only this trigger's.", autocompletion=completion.triggers),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show checkpoints: PLANNED has no run yet, everything before DONE is finished."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    api = Api(url)
    items = list(api.pages("checkpoints", trigger=trigger))
    if as_json:
        output.as_json({"items": items, "next": None})
        return
    output.table(
        ("TRIGGER", "PARTITION", "DONE", "PLANNED", "RUNS"),
        [
            (c["trigger"], c["partition"], c["done"] or "-", c["planned"] or "end", c["runs"])
            for c in items
        ],
        right=("RUNS",),
    )
