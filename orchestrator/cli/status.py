"""`orch status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from orchestrator.cli.options import Json, Url

app = typer.Typer(rich_markup_mode=None, add_completion=False)
_WAITS = {"line": "in line", "future": "for their time"}


@app.command()
def status(url: Url = None, as_json: Json = False) -> None:
    """Show how the orchestrator, its loops, the services it keeps alive and the cluster are."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    api = Api(url)
    found = api.get("status")
    if as_json:
        output.as_json(found)
        return
    cluster = found["cluster"]
    troubled = [
        f"{s['name']}: {s['last_error'] or 'not running'}"
        for s in found["services"]
        if s["last_error"] or not s["running"]
    ]
    dispatch = "" if cluster["dispatching"] else "\ndispatching has stopped: orch cluster accept"
    output.facts(
        {
            "orchestrator": f"{found['version']} at {api.url}",
            "instance": f"{found['instance']} on {found['database']}",
            "cluster": f"{cluster['state']} since {output.clock(cluster['since'])} "
            f"{output.zone()}, {cluster['url']}\n{cluster['detail']}".rstrip()
            + dispatch,
            "triggers": _counts(found["triggers"]),
            "runs": _counts(found["runs"], "none open, none dead"),
            "waiting": _counts({_WAITS.get(str(q), str(q)): n for q, n in found["queues"].items()}),
            "lag": f"{found['lag_seconds']:.3f} s",
            "sources": _sources(found["sources"]),
            "services": _copies(found["keep_alive"]),
            "loops": "\n".join(troubled) or "all run",
        }
    )


def _sources(sources: Sequence[Mapping[str, Any]]) -> str:
    """Those with trouble by name, the others by number."""
    reached = [source for source in sources if source["state"] == "ok"]
    well = [source for source in reached if not source["warnings"]]
    if not sources:
        return "none"
    events = sum(source["lag"] or 0 for source in reached)
    others = len(sources) - len(well)
    counts = f"{len(well):,} ok" + (f", {others:,} not" if others else "")
    lines = [f"{counts}, {events:,} events behind"]
    lines += [
        f"{source['trigger']}: {source['state']}"
        + (f", {source['detail']}" if source["detail"] else "")
        for source in sources
        if source["state"] != "ok"
    ]
    lines += [
        f"{source['trigger']}: {warning}" for source in reached for warning in source["warnings"]
    ]
    return "\n".join(lines)


def _copies(services: Sequence[Mapping[str, Any]]) -> str:
    """Services by name: how many copies run, and those with trouble one by one."""
    lines: list[str] = []
    for service in services:
        copies = [copy for copy in service["copies"] if copy["state"] != "off"]
        running = sum(copy["state"] == "running" for copy in copies)
        lines.append(f"{service['trigger']}: {running:,} of {len(copies):,} run")
        lines += [
            f"  copy {copy['copy']}: {copy['detail'] or copy['state']}"
            for copy in copies
            if copy["state"] != "running"
        ]
    return "\n".join(lines) or "none"


def _counts(counts: Mapping[str, Any], none: str = "none") -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) or none
