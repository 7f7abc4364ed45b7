"""`orch simulate`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import Json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def simulate(
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE|-", help="The trigger file.")],
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="TIME",
            help="RFC 3339, or a date or local time in the trigger's time zone.",
        ),
    ] = "now",
    end: Annotated[
        str, typer.Option("--to", metavar="TIME", help="The same, or how long, such as 7d.")
    ] = "7d",
    duration: Annotated[
        str, typer.Option(metavar="TIME", help="How long each run would take, such as 90s.")
    ] = "0s",
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, metavar="N", help="Firings at most.")
    ] = 1000,
    as_json: Json = False,
) -> None:
    """Show when a trigger file would fire between two dates.

    Clock changes are marked, and with --duration where runs would overlap.
    """
    import specs
    from connectors.simulation import simulate as firings
    from orchestrator.cli import files, output, times

    source = files.read(file)
    try:
        checked = files.check(files.new_checker(), source)
    except specs.SpecError as error:
        raise files.problems_error(error.problems) from error
    schedule = _schedule(source.name, checked.connector, checked.file.settings)
    start = times.in_zone("--from", begin, schedule.timezone)
    stop = times.window_end("--to", end, schedule.timezone, start)
    long = times.duration("--duration", duration)
    overlap = checked.file.policies.overlap or checked.connector.default_overlap
    every = firings(schedule, start, stop, overlap=overlap, duration=long)
    found = list(itertools.islice(every, limit + 1))
    cut, found = len(found) > limit, found[:limit]
    if as_json:
        output.as_json(
            {
                "trigger": checked.file.name,
                "timezone": schedule.timezone,
                "describes": schedule.describe(),
                "overlap": overlap,
                "complete": not cut,
                "items": [_view(f) for f in found],
                "next": None,
            }
        )
        return
    output.line(f"{checked.file.name}: {schedule.describe()} (overlap: {overlap})")
    if schedule.jitter:
        late = specs.format_duration(schedule.jitter)
        output.line(f"Each fires up to {late} later, always by the same part of it.")
    output.table(
        (f"DUE ({schedule.timezone})", "OFFSET", "KEY", "NOTES"),
        [(f.local, f.utc_offset, f.key, "; ".join(f.notes)) for f in found],
    )
    if cut:
        output.line(f"… stopped after {output.count(limit, 'firing')}: --limit shows more")
    else:
        output.line(output.count(len(found), "firing"))


def _schedule(file: str, connector: Any, settings: Any) -> Any:
    from connectors.abc import TimeConnector
    from orchestrator.cli.errors import CliError

    if not isinstance(connector, TimeConnector):
        raise CliError(
            f"{file} is of kind {connector.kind}, which has no due times: what it fires for "
            "depends on what its source holds"
        )
    return connector.schedule(settings)


def _view(firing: Any) -> dict[str, Any]:
    from orchestrator.domain.clock import to_rfc3339

    return {
        "key": firing.key,
        "due_at": to_rfc3339(firing.due),
        "starts_at": None if firing.starts is None else to_rfc3339(firing.starts),
        "local": firing.local,
        "utc_offset": firing.utc_offset,
        "notes": list(firing.notes),
        "overlaps": firing.overlaps,
    }
