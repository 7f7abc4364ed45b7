"""Options that are made of a model's fields, and those that many commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli import completion

Trigger = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only this trigger's.", autocompletion=completion.triggers),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="ORCH_URL",
        help="The orchestrator to ask (http://127.0.0.1:7070).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, times in UTC.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Items at most.")]
Cursor = Annotated[
    str | None, typer.Option(metavar="CURSOR", help="Where the page before said to go on.")
]
Files = Annotated[
    list[Path],
    typer.Option(
        "--file",
        "-f",
        metavar="FILE|DIR|-",
        help="A trigger file, a directory of them, or - for standard input. May be repeated.",
    ),
]


def with_options(
    function: Callable[..., Any], options: Mapping[str, tuple[Any, typer.models.OptionInfo]]
) -> Callable[..., Any]:
    """Let Typer see `options` (name → type and Option) in place of the function's `**options`."""
    own = inspect.signature(function, eval_str=True)
    parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[kind, option],
            default=None,
        )
        for name, (kind, option) in options.items()
    ]

    def call(**given: Any) -> Any:
        return function(**given)

    call.__name__ = function.__name__
    call.__doc__ = function.__doc__
    signature = own.replace(parameters=[*(_keyword(p) for p in parameters), *added])
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {}
    return call


def _keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
