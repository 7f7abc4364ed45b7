"""`orch dead`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli.options import Cursor, Json, Limit, Trigger, Url

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Runs that gave up: list, redrive or discard them.",
)

Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN", help="Ids of dead runs.")]
All = Annotated[bool, typer.Option("--all", help="All dead runs of all triggers.")]


@app.command("list")
def list_dead(
    trigger: Trigger = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the dead runs that nobody has discarded, the newest first."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api
    from orchestrator.cli.runs import show_runs

    page = Api(url).get("dead", trigger=trigger, limit=limit, cursor=cursor)
    if as_json:
        output.as_json(page)
    else:
        show_runs(page, "dead runs")


@app.command()
def redrive(
    run: Runs = None,
    trigger: Trigger = None,
    everything: All = False,
    latest: Annotated[
        bool, typer.Option("--latest", help="With the trigger's newest version of the job.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Run dead runs again, with all their attempts.

    Those named, a trigger's, or --all. Each keeps the version of the job that it was made with,
    which `orch runs show` names, unless --latest is given.
    """
    body = _chosen(run, trigger, everything) | ({"latest": True} if latest else {})
    _do("redrive", body, url, as_json, "put back to run")


@app.command()
def discard(
    run: Runs = None,
    trigger: Trigger = None,
    everything: All = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit trail.")] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let go of dead runs. They stay in the ledger and hold nothing up any more."""
    body = {**_chosen(run, trigger, everything), "note": note}
    _do("discard", body, url, as_json, "discarded")


def _chosen(runs: list[str] | None, trigger: str | None, everything: bool) -> dict[str, Any]:
    from orchestrator.cli.errors import usage

    if not (runs or trigger or everything):
        raise usage("say which dead runs: ids, --trigger NAME, or --all")
    if everything and (runs or trigger):
        raise usage("--all stands alone: leave it out, or the ids and --trigger")
    body: dict[str, Any] = {}
    if runs:
        body["runs"] = runs
    if trigger is not None:
        body["trigger"] = trigger
    return body


def _do(verb: str, body: dict[str, Any], url: str | None, as_json: bool, done: str) -> None:
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    found = Api(url).post(f"dead/{verb}", body)
    if as_json:
        output.as_json(found)
    else:
        output.line(f"{output.count(found['count'], 'run')} {done}")
