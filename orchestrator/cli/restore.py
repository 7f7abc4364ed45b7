"""`orch restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `orch backup`.")],
    data_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="An empty directory, or one that is not there.")
    ],
    copy: Annotated[
        bool,
        typer.Option(
            "--copy",
            help="Make another orchestrator of it: a new name, all triggers paused, the "
            "original's jobs left alone.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a data directory from a backup.

    Before it dispatches anything, the restored orchestrator asks the cluster for its jobs and puts
    back the runs that the backup does not know. Bring orch.key back to the directory first.
    """
    from orchestrator.cli import output
    from orchestrator.cli.errors import CliError, say
    from orchestrator.store import backup
    from orchestrator.store.errors import StoreError

    if not file.is_file():
        raise CliError(f"{file} is no file: name one that `orch backup` has written")
    try:
        done = backup.restore(file, data_dir, copy=copy)
    except StoreError as error:
        raise CliError(str(error)) from error
    if as_json:
        output.as_json(done)
        return
    output.line(
        f"{data_dir}: {output.count(done['triggers'], 'trigger')}, "
        f"{output.count(done['runs'], 'run')}, instance {done['instance']}"
    )
    if copy:
        output.line("all triggers are paused: orch triggers resume NAME")
    else:
        say(f"put the orch.key that belongs to it into {data_dir} before you serve it")
