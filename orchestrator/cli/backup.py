"""`orch backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Json, Url

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write a backup of the whole store while everything goes on.

    The key that opens sealed data is not in it: keep orch.key elsewhere.
    """
    from orchestrator.cli import output
    from orchestrator.cli.downloading import download
    from orchestrator.cli.http import Api

    done = download(Api(url), file)
    if as_json:
        output.as_json(done)
        return
    output.line(
        f"{file}: {done['bytes']:,} bytes, {output.count(done['triggers'], 'trigger')}, "
        f"{output.count(done['runs'], 'run')}"
    )
