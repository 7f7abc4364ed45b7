"""`orch apply`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import Files, Json, Url

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def apply(
    file: Files,
    reset: Annotated[
        bool,
        typer.Option("--reset", help="Let a changed source begin anew, without its checkpoints."),
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Bring triggers to what files say: new ones are registered, others changed where they differ.

    All files are checked before anything is sent. Each trigger is then changed whole or not at
    all; one that is refused does not keep the others from theirs, and the exit code is 1.
    """
    from orchestrator.cli.applying import carry_out

    carry_out(file, reset=reset, url=url, as_json=as_json)
