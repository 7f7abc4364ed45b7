"""`orch schema`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import completion

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(help="The connector, such as cron.", autocompletion=completion.kinds)
    ],
) -> None:
    """Print the JSON Schema of a kind's trigger files, for editors."""
    from connectors.registry import Registry, UnknownConnectorError
    from orchestrator.cli import output
    from orchestrator.cli.errors import usage
    from orchestrator.operations.schemas import trigger_schema

    try:
        output.as_json(trigger_schema(Registry.load(), kind))
    except UnknownConnectorError as error:
        raise usage(str(error)) from error
