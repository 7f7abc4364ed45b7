"""`orch register KIND`: the options are the connector's settings and the common policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.registry import Registry, UnknownConnectorError
from orchestrator.cli.fields import Field, fields_of
from orchestrator.cli.options import Json, Url, with_options

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def register() -> None:
    """Register a trigger from options, a trigger file or a plain Bacalhau job.

    The options win over the file. Without --spec the trigger runs the kind's default job.
    """


def _command(kind: str, fields: dict[str, Field]) -> Any:
    def run(
        name: Annotated[
            str | None, typer.Option(metavar="NAME", help="The trigger's name.")
        ] = None,
        spec: Annotated[
            Path | None,
            typer.Option(metavar="FILE|-", help="A trigger file or a plain Bacalhau job."),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Check and show it; register nothing.")
        ] = False,
        url: Url = None,
        as_json: Json = False,
        **options: Any,
    ) -> None:
        from orchestrator.cli.registering import Request, carry_out

        given = {fields[key].path: value for key, value in options.items() if value is not None}
        request = Request(
            kind=kind,
            name=name,
            spec=spec,
            values={fields[key].path: fields[key] for key in options},
            given=given,
        )
        carry_out(request, dry_run=dry_run, url=url, as_json=as_json)

    run.__name__ = kind
    return with_options(run, {key: (field.kind, field.option()) for key, field in fields.items()})


def _add_all() -> None:
    registry = Registry.load()
    for kind in registry.kinds:
        try:
            connector = registry.get(kind)
        except UnknownConnectorError:
            continue
        help_text = f"Register a trigger of kind {kind}: {connector.summary}."
        app.command(kind, help=help_text, short_help=connector.summary)(
            _command(kind, fields_of(connector))
        )


_add_all()
