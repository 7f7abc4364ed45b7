"""`orch new`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import completion
from orchestrator.cli.options import Json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def new(
    script: Annotated[
        Path,
        typer.Option("--from", metavar="FILE", help="The script: Python, sh, bash or dash."),
    ],
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="What starts it.", autocompletion=completion.kinds)
    ] = "cron",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The trigger's name; the script's without.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Where to write. Without it beside the script; elsewhere the script is copied.",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The image's name, as registry.example.com/team/report; the trigger's without.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a trigger file and a Dockerfile for a script.

    A requirements.txt beside it, dependencies that stand in it (PEP 723) and modules beside it
    that it imports go into the image.
    """
    from orchestrator.cli import scaffolding

    scaffolding.carry_out(
        scaffolding.Asked(
            script=script, kind=kind, name=name, directory=directory, image=image, force=force
        ),
        as_json=as_json,
    )
