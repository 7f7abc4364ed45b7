"""`orch dev-node`: the dev node has a command line of its own."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    }
)
def dev_node(ctx: typer.Context) -> None:
    """Run a local node with Bacalhau's HTTP API, for development."""
    from bacalhau_client.devnode import main

    raise SystemExit(main(ctx.args))
