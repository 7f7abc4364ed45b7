"""`orch dev-node`: the dev node has a command line of its own."""

from __future__ import annotations

import shlex
import sys

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

    raise SystemExit(main(ctx.args, images=task_commands()))


def task_commands() -> dict[str, str]:
    """What runs on this machine where a job asks for the image of one of our sample tasks."""
    import specs

    python = shlex.quote(sys.executable)
    return {
        image: f"{python} {shlex.quote(str(program))}"
        for image, program in specs.task_images().items()
    }
