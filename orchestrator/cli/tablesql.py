"""`orch table-sql`: the SQL of a table whose rows are work."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import output
from orchestrator.cli.errors import usage

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def table_sql(
    dialect: Annotated[
        str, typer.Option(metavar="WORD", help="postgresql, mysql (and MariaDB) or sqlite.")
    ],
    table: Annotated[
        str, typer.Option(metavar="NAME", help="The table, as `jobs` or `app.jobs`.")
    ] = "jobs",
    key: Annotated[
        str, typer.Option(metavar="NAME", help="The column that tells rows apart.")
    ] = "id",
    existing: Annotated[
        bool,
        typer.Option("--existing", help="Give a table that is there the columns it needs."),
    ] = False,
    notify: Annotated[
        str | None,
        typer.Option(metavar="CHANNEL", help="PostgreSQL: tell of new rows on this channel."),
    ] = None,
) -> None:
    """Print the SQL of a table whose rows are work, for `orch register table`.

    Leave out the lines of columns that a table has already.
    """
    from connectors.tables import DIALECTS, BadName, TableDialect, migration, parse_table

    known: dict[str, TableDialect] = {one: one for one in DIALECTS}
    if dialect not in known:
        raise usage(f"--dialect: {dialect!r} is none: write {', '.join(DIALECTS)}")
    try:
        name = parse_table(table)
    except BadName as error:
        raise usage(f"--table: {table!r} is no table: {error}") from error
    try:
        text = migration(known[dialect], name, key=key, existing=existing, notify=notify)
    except BadName as error:
        raise usage(f"no such table can be made: {error}") from error
    for line in text.splitlines():
        output.line(line)
