"""`orch diff`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from orchestrator.cli.options import Files, Json, Url

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def diff(
    file: Files,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where anything differs.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show what `apply` would change. Inlined modules are compared by their digest."""
    from orchestrator.cli import output
    from orchestrator.cli.errors import FAILED, say
    from orchestrator.cli.gathering import gather
    from orchestrator.cli.http import Api

    actions: set[str] = set()
    with gather(file) as gathered:
        found = _compare(Api(url), gathered)
        if as_json:
            items = list(found)
            output.listing(items)
            actions = {item["action"] for item in items}
        else:
            for item in found:
                actions.add(item["action"])
                for line in item["diff"]:
                    output.line(line)
                if item["error"]:
                    say(f"orch: {item['file']}: {item['error']}")
            if actions <= {"unchanged"}:
                output.line("nothing would change")
    if "failed" in actions or (exit_code and actions - {"unchanged"}):
        raise typer.Exit(FAILED)


def _compare(api: Any, gathered: Any) -> Iterator[dict[str, Any]]:
    from orchestrator.cli.applying import ask
    from orchestrator.cli.gathering import Progress

    with Progress("compared", len(gathered)) as progress:
        for piece in gathered.pieces():
            for one, result in zip(piece, ask(api, piece, dry_run=True), strict=True):
                action, lines = result.action, list[str]()
                if action in ("created", "changed"):
                    action, lines = _difference(api, one, gathered.whole(one))
                    progress.hide()
                yield {
                    "file": one.source,
                    "name": one.name,
                    "action": action,
                    "error": result.error,
                    "diff": lines,
                }
            progress.step(len(piece))


def _difference(api: Any, one: Any, whole: dict[str, Any]) -> tuple[str, list[str]]:
    import difflib

    from orchestrator.cli.http import Refused, segment
    from orchestrator.cli.summary import yaml_text

    before: list[str] = []
    action = "create"
    try:
        now = api.get(f"triggers/{segment(one.name)}")["document"]
        before = yaml_text(_ordered(now)).splitlines()
        action = "change"
    except Refused as error:
        if error.status != 404:
            raise
    after = yaml_text(_ordered(whole)).splitlines()
    if before == after:
        action = "unchanged"
    lines = difflib.unified_diff(before, after, f"registered {one.name}", one.source, lineterm="")
    return action, list(lines)


def _ordered(document: Any) -> dict[str, Any]:
    """The same with one order of keys at every level; the header stays on top."""
    head = ("apiVersion", "kind", "name")
    rest = {key: _sorted(document[key]) for key in sorted(document) if key not in head}
    return {**{key: document[key] for key in head}, **rest}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [_sorted(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
