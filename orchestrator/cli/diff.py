"""`orch diff`."""

from __future__ import annotations

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
    from orchestrator.cli.applying import gather
    from orchestrator.cli.errors import FAILED
    from orchestrator.cli.http import Api

    api = Api(url)
    found = [_compare(api, one) for one in gather(file)]
    if as_json:
        output.as_json({"items": found, "next": None})
    else:
        for item in found:
            for line in item["diff"]:
                output.line(line)
        if all(item["action"] == "unchanged" for item in found):
            output.line("nothing would change")
    if exit_code and any(item["action"] != "unchanged" for item in found):
        raise typer.Exit(FAILED)


def _compare(api: Any, one: Any) -> dict[str, Any]:
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
    after = yaml_text(_ordered(one.whole)).splitlines()
    if before == after:
        action = "unchanged"
    lines = difflib.unified_diff(before, after, f"registered {one.name}", one.source, lineterm="")
    return {"file": one.source, "name": one.name, "action": action, "diff": list(lines)}


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
