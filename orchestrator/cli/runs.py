"""`orch runs`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from orchestrator.cli import completion
from orchestrator.cli.options import Cursor, Json, Limit, Trigger, Url

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List, show, cancel and retry runs, and read their logs.",
)

_INDENT = len("  submitted  ")
_FOR_KEYS = 140  # columns of a terminal that has room for them; `runs show` has them, too
_FOR_TRIES = 100

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@app.command("list")
def list_runs(
    trigger: Trigger = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="Only these states; repeated, or with commas.",
            autocompletion=completion.states,
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Due at or after; 2h is two hours ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Due before.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List runs by due time, the newest first."""
    from orchestrator.cli import output, times
    from orchestrator.cli.http import Api

    page = Api(url).get(
        "runs",
        trigger=trigger,
        state=state or None,
        since=times.instant("--since", since),
        until=times.instant("--until", until),
        limit=limit,
        cursor=cursor,
        order="oldest" if oldest else None,
    )
    if as_json:
        output.as_json(page)
        return
    show_runs(page)


def show_runs(page: dict[str, Any], what: str = "runs") -> None:
    """A page of runs as a table."""
    from orchestrator.cli import output

    if not page["items"]:
        output.line(f"no {what}")
        return
    # The key of a run for a due time says what the column before it says already.
    streams = any(run["partition"] != output.ONE_PARTITION for run in page["items"])
    columns = ["RUN", "TRIGGER", f"DUE ({output.zone()})", "KEY", "STATE", "TRIES", "REASON"]
    rows = [
        [
            run["id"],
            run["trigger"],
            output.clock(run["due_at"]),
            run["key"],
            run["state"],
            len(run["attempts"]),
            run["reason"] or "",
        ]
        for run in page["items"]
    ]
    left_out: list[int] = []
    if not output.wide(_FOR_TRIES) and any(run["reason"] for run in page["items"]):
        left_out.append(columns.index("TRIES"))
    if not (streams and output.wide(_FOR_KEYS)):
        left_out.append(columns.index("KEY"))
    if not output.wide(_FOR_TRIES) and what != "runs":
        left_out.append(columns.index("STATE"))  # the same for all
    for row in (columns, *rows):
        for n in sorted(left_out, reverse=True):
            del row[n]
    output.table(columns, rows, right=("TRIES",), cut=("REASON", "KEY", "TRIGGER"), ends=("KEY",))
    output.more(page)


@app.command()
def show(run: RunId, url: Url = None, as_json: Json = False) -> None:
    """Show a run with its attempts and what they wrote."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).get(f"runs/{segment(run)}")
    if as_json:
        output.as_json(found)
        return
    zone = output.zone()
    output.facts(
        {
            "run": found["id"],
            "trigger": _of_version(found),
            "key": found["key"],
            "state": _state(found),
            f"due ({zone})": output.clock(found["due_at"]),
            f"started ({zone})": output.clock(found["started_at"]),
            f"ended ({zone})": output.clock(found["ended_at"]),
            **_kept(found["kept"] or {}),
        }
    )
    for attempt in found["attempts"]:
        output.line()
        output.line(f"attempt {attempt['number']}")
        pairs: dict[str, object] = {
            "  state": _state(attempt),
            "  job": output.middle(attempt["job_name"], _INDENT),
        }
        exit_code = output.telling_exit_code(attempt["exit_code"], attempt["state"] == "succeeded")
        told = ("job id", attempt["job_id"]), ("exit code", exit_code), ("node", attempt["node_id"])
        for name, value in told:
            if value not in (None, ""):
                pairs[f"  {name}"] = value
        pairs["  submitted"] = output.clock(attempt["submitted_at"])
        pairs["  ended"] = output.clock(attempt["ended_at"])
        for name in ("stdout", "stderr"):
            if attempt[name]:
                pairs[f"  {name}"] = attempt[name].rstrip("\n")
        output.facts(pairs)


def _kept(kept: dict[str, Any]) -> dict[str, object]:
    """Of a dead run: its only record, where its records are kept, and until when if nowhere."""
    from orchestrator.cli import output

    shown: dict[str, object] = {}
    if "record" in kept:
        shown["record"] = json.dumps(kept["record"], ensure_ascii=False)
    if "copy" in kept:
        shown["copied to"] = kept["copy"]
    if "expires_at" in kept:
        shown[f"expires ({output.zone()})"] = output.clock(kept["expires_at"])
    return shown


def _of_version(run: dict[str, Any]) -> str:
    """A run of a job that came with its request has a version of no trigger."""
    return f"{run['trigger']}, version {run['version']}" if run["version"] else run["trigger"]


def _state(thing: dict[str, Any]) -> str:
    return f"{thing['state']}: {thing['reason']}" if thing["reason"] else str(thing["state"])


@app.command()
def logs(
    run: RunId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the attempt has ended.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Which attempt; the last without it.")
    ] = None,
    url: Url = None,
) -> None:
    """Print what a run's job writes, from the cluster while it has it."""
    from orchestrator.cli.http import Api
    from orchestrator.cli.logs import stream

    stream(Api(url), run, attempt, follow=follow)


@app.command()
def cancel(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id.")] = None,
    trigger: Trigger = None,
    backfilled: Annotated[
        bool, typer.Option("--backfilled", help="With --trigger: only runs of its backfills.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; it stands in the ledger.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """End an open run, or all of a trigger. Jobs are stopped, then runs are cancelled."""
    from orchestrator.cli import output
    from orchestrator.cli.errors import usage
    from orchestrator.cli.http import Api

    if (run is None) == (trigger is None) or (backfilled and trigger is None):
        raise usage("say one run, or --trigger NAME for all of its open runs")
    body: dict[str, Any] = {} if reason is None else {"reason": reason}
    if run is not None:
        _post(run, "cancel", body, url, as_json, "is cancelled")
        return
    found = Api(url).post("runs:cancel", {**body, "trigger": trigger, "backfilled": backfilled})
    if as_json:
        output.as_json(found)
    else:
        output.line(f"{output.count(found['count'], 'run')} of {trigger} cancelled")


@app.command()
def retry(run: RunId, url: Url = None, as_json: Json = False) -> None:
    """Run it again, or at once where it waits for its next attempt.

    Refused for a run that has succeeded, or is under way.
    """
    _post(run, "retry", {}, url, as_json, "runs again")


def _post(
    run: str, verb: str, body: dict[str, Any], url: str | None, as_json: bool, done: str
) -> None:
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).post(f"runs/{segment(run)}/{verb}", body)
    if as_json:
        output.as_json(found)
    else:
        output.line(f"{found['id']} {done} (now {found['state']})")
