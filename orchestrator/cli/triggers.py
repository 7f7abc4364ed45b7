"""`orch triggers`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli import completion
from orchestrator.cli.options import Cursor, Json, Limit, Url

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List, show, pause, resume, fire, backfill and delete triggers.",
)

Name = Annotated[
    str, typer.Argument(help="The trigger's name.", autocompletion=completion.triggers)
]


@app.command("list")
def list_triggers(
    kind: Annotated[str | None, typer.Option(help="Only this kind.", metavar="KIND")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List triggers by name."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    page = Api(url).get("triggers", kind=kind, limit=limit, cursor=cursor)
    if as_json:
        output.as_json(page)
        return
    if not page["items"]:
        output.line("no triggers: `orch register --help` shows how to make one")
        return
    output.table(
        ("NAME", "KIND", "STATE", f"NEXT ({output.zone()})", "NOTE"),
        [
            (t["name"], t["kind"], t["state"], output.clock(t["next_at"]), t["note"] or "")
            for t in page["items"]
        ],
        cut=("NAME",),
    )
    output.more(page)


@app.command()
def show(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Show a trigger: its file, its policies, how far it is."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment
    from orchestrator.cli.summary import yaml_text

    found = Api(url).get(f"triggers/{segment(name)}")
    if as_json:
        output.as_json(found)
        return
    last = found["last_run"]
    output.facts(
        {
            "name": found["name"],
            "kind": found["kind"],
            "state": f"{found['state']}: {found['note']}" if found["note"] else found["state"],
            "version": found["version"],
            "registered": output.clock(found["created_at"]),
            "changed": output.clock(found["updated_at"]),
            f"next ({output.zone()})": output.clock(found["next_at"]),
            "last run": f"{last['id']} {last['key']} {last['state']} {last['reason']}"
            if last
            else "none yet",
            "runs": ", ".join(f"{n:,} {state}" for state, n in found["counts"].items() if n)
            or "none open, none dead",
            **({"warnings": "\n".join(found["warnings"])} if found["warnings"] else {}),
        }
    )
    if found["copies"]:
        output.line()
        _copies(found["copies"])
    output.line()
    output.line("policies that hold:")
    for line in yaml_text(_plain(found["policies"])).splitlines():
        output.line(f"  {line}")
    output.line()
    for line in yaml_text(found["document"]).splitlines():
        output.line(line)


def _copies(copies: list[dict[str, Any]]) -> None:
    """The copies of a service."""
    from orchestrator.cli import output
    from orchestrator.cli.summary import one_line

    output.table(
        ("COPY", "STATE", f"HEARD ({output.zone()})", "CHECKPOINT", "PROGRESS", "DETAIL"),
        [
            (
                str(copy["copy"]),
                copy["state"],
                output.clock(copy["heartbeat_at"]),
                one_line(copy["checkpoint"]),
                one_line(copy["progress"]),
                copy["detail"],
            )
            for copy in copies
        ],
    )


def _plain(policies: dict[str, Any]) -> dict[str, Any]:
    """What is set, without the empty."""
    inner = {k: _plain(v) if isinstance(v, dict) else v for k, v in policies.items()}  # pyright: ignore[reportUnknownArgumentType]
    return {k: v for k, v in inner.items() if v not in (None, [], {}, False)}


@app.command()
def pause(
    name: Name,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for others to read.")] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make no new firings; runs that exist go on. Without --note the one that is there stays."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).post(f"triggers/{segment(name)}/pause", {"note": note})
    if as_json:
        output.as_json(found)
    else:
        output.line(f"{name}: paused")


@app.command()
def resume(
    name: Name,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave out what came due in the pause.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make firings again. What came due in the pause follows the catch-up policy."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).post(f"triggers/{segment(name)}/resume", {"skip": skip})
    if as_json:
        output.as_json(found)
        return
    soon = f", next at {output.clock(found['next_at'])} {output.zone()}" if found["next_at"] else ""
    output.line(f"{name}: resumed{soon}")
    if told := _passed(found["passed"]):
        output.line(told)


def _passed(passed: dict[str, Any] | None) -> str | None:
    """What came due in a pause, in words; None for nothing."""
    from orchestrator.cli import output

    if not passed or not passed["count"]:
        return None
    late: int | None = passed["caught_up"]
    first = f"{'more than ' if passed['more'] else ''}{output.count(passed['count'], 'due time')}"
    if late is None:
        return f"{first} passed in the pause: catch_up says which still run"
    if late == 0:
        return f"{first} passed in the pause, left out"
    out = passed["count"] - late
    left = f"{out:,} left out, " if out else ""
    return f"{first} passed in the pause: {left}{late:,} caught up as overlap allows"


@app.command()
def fire(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Make a run now, beside the schedule. Prints its id."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    run = Api(url).post(f"triggers/{segment(name)}/fire")
    if as_json:
        output.as_json(run)
    else:
        output.line(run["id"])


@app.command()
def backfill(
    name: Name,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="The first due time, or how long ago: 7d.")
    ],
    until: Annotated[str, typer.Option(metavar="TIME", help="Due times before this one.")] = "now",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them only.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Run the due times of a window that have not run."""
    from orchestrator.cli import output, times
    from orchestrator.cli.http import Api, segment

    window = {
        "since": times.instant("--since", since),
        "until": times.instant("--until", until),
        "dry_run": dry_run,
    }
    done = Api(url).post(f"triggers/{segment(name)}/backfill", window)
    if as_json:
        output.as_json(done)
        return
    would = "would be made" if dry_run else "made"
    output.line(
        f"{output.count(done['created'], 'run')} {would}, {done['revived']:,} that were skipped "
        f"{'would run' if dry_run else 'run'} after all, {done['kept']:,} left as they are"
    )


@app.command()
def delete(
    name: Name,
    cancel: Annotated[
        bool | None,
        typer.Option("--cancel/--drain", help="Cancel its open runs, or let them end first."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete a trigger: it makes no firings any more.

    Its open runs are drained (default) or cancelled.
    """
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).delete(f"triggers/{segment(name)}", cancel=bool(cancel))
    if as_json:
        output.as_json(found)
        return
    open_runs = "its open runs are cancelled" if cancel else "it goes when its open runs have ended"
    ended = found["state"] == "deleted"
    output.line(f"{name}: deleted" if ended else f"{name}: {found['state']}, {open_runs}")
