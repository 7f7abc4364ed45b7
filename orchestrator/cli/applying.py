"""Applies trigger files: checked here, then sent by the thousand."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cli import output
from orchestrator.cli.errors import FAILED, CliError, say
from orchestrator.cli.gathering import Gathered, Progress, Wanted, gather
from orchestrator.cli.http import Api, Refused

_SHOWN = 200  # lines about single triggers, for people


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was done with one file: created, changed, unchanged, or failed and why."""

    file: str
    name: str
    action: str
    error: str | None
    warnings: Sequence[str] = ()


def carry_out(paths: Sequence[Path], *, reset: bool, url: str | None, as_json: bool) -> None:
    """Check all files, then apply them."""
    api = Api(url)
    with gather(paths) as gathered:
        results = _apply(api, gathered, reset=reset)
    counts = Counter(result.action for result in results)
    if as_json:
        output.listing(
            {
                "file": r.file,
                "name": r.name,
                "action": r.action,
                "error": r.error,
                "warnings": list(r.warnings),
            }
            for r in results
        )
    else:
        for result in results[:_SHOWN]:
            if result.action != "failed":
                output.line(f"{result.name}: {result.action}")
        if len(results) > 1:
            output.line(_counted(counts))
    warned = [(result, warning) for result in results for warning in result.warnings]
    for result, warning in warned[:_SHOWN] if not as_json else ():
        say(f"orch: warning: {result.name}: {warning}")
    for result in results:
        if result.action == "failed":
            say(f"orch: {result.file}: {result.error}")
    if counts["failed"]:
        sys.stdout.flush()
        raise SystemExit(FAILED)


def ask(api: Api, piece: Sequence[Wanted], **params: Any) -> list[Result]:
    """Send one request for many triggers; what it did with each, in their order."""
    body = b'{"triggers":[' + b",".join(one.body for one in piece) + b"]}"
    items = api.post_text("triggers:apply", body, **params)["items"]
    if len(items) != len(piece):
        raise CliError(f"the orchestrator answered for {len(items)} of {len(piece)} triggers")
    return [_result(api, one, item) for one, item in zip(piece, items, strict=True)]


def _apply(api: Api, gathered: Gathered, *, reset: bool) -> list[Result]:
    results: list[Result] = []
    with Progress("applied", len(gathered)) as progress:
        try:
            for piece in gathered.pieces():
                results += ask(api, piece, reset=reset or None)
                progress.step(len(piece))
        except CliError as error:
            if not results:
                raise
            counts = _counted(Counter(result.action for result in results))
            raise CliError(
                f"{error}\n{counts} of {len(gathered):,} before that: `orch apply` again does the "
                "rest",
                error.code,
            ) from error
    return results


def _result(api: Api, one: Wanted, answer: dict[str, Any]) -> Result:
    action = str(answer["action"])
    error = None
    if action == "failed":
        refused = Refused(answer["status"], str(answer["detail"]), answer["errors"])
        error = api.refusal(refused)
    return Result(
        file=one.source,
        name=one.name,
        action=action,
        error=error,
        warnings=tuple(answer.get("warnings", ())),
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {action}" for action, number in sorted(counts.items()))
