"""`orch checkpoints`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli import completion
from orchestrator.cli.options import Json, Url

Trigger = Annotated[
    str, typer.Argument(help="The trigger's name.", autocompletion=completion.triggers)
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit trail.")]

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="How far each partition of a trigger has been read.",
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def show(
    trigger: Annotated[
        str | None,
        typer.Argument(help="Only this trigger's.", autocompletion=completion.triggers),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show how far partitions are: everything before DONE is finished.

    What begins at PLANNED has no run yet.
    """
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    api = Api(url)
    items = list(api.pages("checkpoints", trigger=trigger))
    if as_json:
        output.as_json({"items": items, "next": None})
        return
    # Triggers whose runs are asked for one by one have a place in the store, and no position.
    items = [c for c in items if (c["base"], c["planned"], c["done"]) != (None, None, None)]
    if not items:
        whose = "no trigger has" if trigger is None else f"{trigger} has no"
        output.line(f"{whose} checkpoints: what it reads has no order, or was not read yet")
        return
    output.table(
        ("TRIGGER", "PARTITION", "DONE", "PLANNED", "LAG", "RUNS"),
        [
            (
                c["trigger"],
                c["partition"],
                c["done"] or "end",
                c["planned"] or "end",
                "-" if c["lag"] is None else f"{c['lag']:,}",
                f"{c['runs']:,}",
            )
            for c in items
        ],
        right=("LAG", "RUNS"),
        cut=("PARTITION", "TRIGGER"),
        ends=("PARTITION",),
    )


@app.command("set")
def set_checkpoints(
    trigger: Trigger,
    positions: Annotated[
        list[str],
        typer.Argument(metavar="PARTITION=POSITION...", help="Where to go on from: logs/0=42."),
    ],
    reason: Reason,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Let partitions of a paused trigger go on from other positions.

    Runs that exist stay as they are. Going back runs the events in between again, going forward
    leaves them out; the ledger has a skipped run for the jump, the audit trail has the reason.
    """
    from orchestrator.cli.errors import usage

    wanted: dict[str, str] = {}
    for text in positions:
        partition, equals, position = text.partition("=")
        if not (partition and equals and position):
            raise usage(f"{text!r} is not PARTITION=POSITION, such as logs/0=42")
        if partition in wanted:
            raise usage(f"the partition {partition!r} is named twice")
        wanted[partition] = position
    _post(trigger, "", {"positions": wanted, "reason": reason}, url, as_json)


@app.command()
def restart(trigger: Trigger, reason: Reason, url: Url = None, as_json: Json = False) -> None:
    """Let a paused trigger begin anew where its settings say.

    For a source that was deleted and made again: its old positions mean nothing there.
    """
    _post(trigger, "/restart", {"reason": reason}, url, as_json)


def _post(trigger: str, rest: str, body: dict[str, Any], url: str | None, as_json: bool) -> None:
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).post(f"checkpoints/{segment(trigger)}{rest}", body)
    if as_json:
        output.as_json(found)
    else:
        output.line(f"noted; it holds once it is resumed: orch triggers resume {trigger}")
