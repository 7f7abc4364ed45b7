"""`orch jobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli import completion
from orchestrator.cli.options import Cursor, Json, Limit, Url

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Ask for jobs of templates, now or later; list, show and cancel them.",
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Wait = Annotated[
    str | None, typer.Option(metavar="TIME", help="Until it has ended, at most this long: 10s.")
]


@app.command()
def submit(
    template: Annotated[
        str | None,
        typer.Argument(
            metavar="TEMPLATE",
            help="A trigger of kind job; the default template without it.",
            autocompletion=completion.triggers,
        ),
    ] = None,
    parameters: Annotated[
        str | None, typer.Option(metavar="YAML", help="In braces, as in a trigger file.")
    ] = None,
    value: Annotated[
        str | None, typer.Option("--input", metavar="TEXT", help="${{ input }} in the job.")
    ] = None,
    job: Annotated[
        Path | None, typer.Option(metavar="FILE|-", help="A whole Bacalhau job instead.")
    ] = None,
    run_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When, RFC 3339 or local: '2027-01-01 09:00'."),
    ] = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="In how long: 5m.")] = None,
    priority: Annotated[int | None, typer.Option(metavar="N", help="Higher ones go first.")] = None,
    callback_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address that is told of its end.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The same again gives the same job.")
    ] = None,
    wait: Wait = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Ask for a job, of a template or whole."""
    from orchestrator.cli import files, output, times
    from orchestrator.cli.http import Api

    body: dict[str, Any] = {
        "template": template,
        "parameters": None if parameters is None else _mapping(parameters),
        "input": value,
        "job": None if job is None else files.load(files.read(job)).data,
        "run_at": times.instant("--run-at", run_at),
        "delay": delay,
        "priority": priority,
        "callback_url": callback_url,
    }
    headers = {} if key is None else {"Idempotency-Key": key}
    response = Api(url).request(
        "POST",
        "/jobs",
        body={name: given for name, given in body.items() if given is not None},
        headers=headers,
        params={"wait": wait},
    )
    found = response.json()
    if as_json:
        output.as_json(found)
    elif found["ended_at"]:
        _show(found)
    else:
        output.line(f"{found['id']} is {found['status']}, to run at {found['run_at']}")
    if found["status"] in ("Failed", "Cancelled"):
        raise typer.Exit(1)


def _mapping(text: str) -> dict[str, Any]:
    import yaml

    from orchestrator.cli.errors import usage

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise usage(f"--parameters {text[:60]!r} is no mapping: write '{{name: value}}'")
    return found  # pyright: ignore[reportUnknownVariableType]


@app.command("list")
def list_jobs(
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="Queued, Running, Succeeded, Failed, Cancelled."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="To run at or after; 2h is two hours ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To run before.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List jobs by the time at which they are to run, the latest first."""
    from orchestrator.cli import output, times
    from orchestrator.cli.http import Api

    page = Api(url).get(
        "/jobs",
        status=status or None,
        since=times.instant("--since", since),
        until=times.instant("--until", until),
        limit=limit,
        cursor=cursor,
    )
    if as_json:
        output.as_json(page)
        return
    if not page["items"]:
        output.line("no jobs")
        return
    columns = ["JOB", "TEMPLATE", f"RUN AT ({output.zone()})", "STATUS", "REASON"]
    rows = [
        [
            job["id"],
            job["template"] or "(whole)",
            output.clock(job["run_at"]),
            job["status"],
            job["reason"],
        ]
        for job in page["items"]
    ]
    output.table(columns, rows, cut=("TEMPLATE",))
    output.more(page)


@app.command()
def show(job: JobId, wait: Wait = None, url: Url = None, as_json: Json = False) -> None:
    """Show a job and what it wrote."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).get(f"/jobs/{segment(job)}", wait=wait)
    if as_json:
        output.as_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from orchestrator.cli import output
    from orchestrator.cli.summary import one_line

    zone = output.zone()
    reason = f": {found['reason']}" if found["reason"] else ""
    pairs: dict[str, object] = {
        "job": found["id"],
        "template": found["template"] or "(whole)",
        "status": f"{found['status']}{reason}",
    }
    if found["parameters"]:
        pairs["parameters"] = one_line(found["parameters"])
    for name in ("run_at", "started_at", "ended_at"):
        pairs[f"{name.partition('_')[0]} ({zone})"] = output.clock(found[name])
    result: dict[str, Any] = found["result"] or {}
    exit_code = output.telling_exit_code(result.get("exit_code"), found["status"] == "Succeeded")
    if exit_code is not None:
        pairs["exit code"] = exit_code
    for name in ("stdout", "stderr"):
        if result.get(name):
            pairs[name] = result[name].rstrip("\n")
    output.facts(pairs)


@app.command()
def cancel(job: JobId, url: Url = None, as_json: Json = False) -> None:
    """End a job that has not ended, also one of the future."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).request("DELETE", f"/jobs/{segment(job)}").json()
    if as_json:
        output.as_json(found)
    else:
        output.line(f"{found['id']} is cancelled (now {found['status']})")
