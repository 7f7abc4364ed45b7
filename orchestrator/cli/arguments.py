"""How commands show their arguments: `NAME`, `[NAME]`, `NAME...`, whatever Typer makes of them."""

from __future__ import annotations

from functools import partial
from typing import Any


def shown_plainly(command: Any) -> Any:
    """Let a command, and those below it, show their arguments in the form of manual pages."""
    for inner in getattr(command, "commands", {}).values():
        shown_plainly(inner)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.get_usage_pieces = partial(_usage, parameter)
            parameter.get_help_record = partial(_help, parameter, parameter.get_help_record)
    return command


def place(argument: Any) -> str:
    """What an argument is called where people read it."""
    return str(argument.metavar or argument.name.upper())


def _usage(argument: Any, _context: Any) -> list[str]:
    name = place(argument)
    if argument.nargs != 1 and not name.endswith("..."):
        name += "..."
    return [name if argument.required else f"[{name}]"]


def _help(argument: Any, record: Any, context: Any) -> tuple[str, str]:
    _, text = record(context)
    return place(argument), text.removesuffix("  [required]")
