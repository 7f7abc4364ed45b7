"""`orch image`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Json

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Build and push the image of a trigger file with docker or podman.",
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The trigger file.")]
EngineName = Annotated[
    str | None,
    typer.Option("--engine", metavar="WORD", help="docker or podman; the one that is installed."),
]
Dockerfile = Annotated[
    Path | None,
    typer.Option("--dockerfile", metavar="FILE", help="Without it the Dockerfile in --context."),
]
Context = Annotated[
    Path | None,
    typer.Option("--context", metavar="DIR", help="What is built; the trigger file's directory."),
]
Platform = Annotated[
    str | None,
    typer.Option("--platform", metavar="NAME", help="That of the nodes, such as linux/amd64."),
]


@app.command()
def build(
    file: File,
    engine: EngineName = None,
    dockerfile: Dockerfile = None,
    context: Context = None,
    platform: Platform = None,
    as_json: Json = False,
) -> None:
    """Build the image that a trigger file names.

    Its tag is the hash of what it is built from, and is written into the file.
    """
    from orchestrator.cli import imaging

    asked = imaging.Asked(
        file=file, engine=engine, dockerfile=dockerfile, context=context, platform=platform
    )
    imaging.build(asked, as_json=as_json)


@app.command()
def push(
    file: File,
    engine: EngineName = None,
    dockerfile: Dockerfile = None,
    context: Context = None,
    platform: Platform = None,
    as_json: Json = False,
) -> None:
    """Push the image that a trigger file names to its registry.

    It is built first, unless it is at hand as its files are now. The digest that the registry
    has given it is written into the file.
    """
    from orchestrator.cli import imaging

    asked = imaging.Asked(
        file=file, engine=engine, dockerfile=dockerfile, context=context, platform=platform
    )
    imaging.push(asked, as_json=as_json)
