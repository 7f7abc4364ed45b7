"""`orch demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def demo(
    data_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where its state is kept; a next run goes on there.")
    ] = Path(".orch-demo"),
    seconds: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="End by itself after this time, such as 20s."),
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address of the HTTP API, on this machine.")
    ] = "127.0.0.1:7070",
    node: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address of the local node.")
    ] = "127.0.0.1:1234",
) -> None:
    """See it work: a local node, the orchestrator and the example triggers, in one process.

    One of them counts the orchestrator's own access log every five seconds, by status, in a
    WebAssembly task. Ctrl-C ends everything; the next run goes on where this one stopped.

    With --for the exit code is 0 if a run of its trigger count-log has succeeded.
    """
    from orchestrator.cli import times
    from orchestrator.cli.demosession import run_demo

    length = None if seconds is None else times.duration("--for", seconds) / 1_000_000
    run_demo(data_dir, length=length, listen=listen, node=node)
