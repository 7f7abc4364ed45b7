"""`orch cluster`."""

from __future__ import annotations

import typer

from orchestrator.cli.options import Json, Url

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Accept another cluster behind Bacalhau's address.",
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def accept(url: Url = None, as_json: Json = False) -> None:
    """Take the cluster that answers now as ours.

    For one that changed or lost its jobs. Dispatching goes on then. Attempts whose jobs it does not
    know count as failed.
    """
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    found = Api(url).post("cluster/accept")
    if as_json:
        output.as_json(found)
    else:
        output.line(f"accepted {found['identity']} at {found['url']}")
