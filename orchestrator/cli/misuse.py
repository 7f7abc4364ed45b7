"""What is wrong with a command line, told as every other error is: place, reason, remedy."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.arguments import place
from orchestrator.cli.errors import USAGE, CliError


def misuse(error: BaseException) -> CliError | None:
    """An error of the parser in our words; None for any other error.

    The parser has exceptions of its own, which are no public names of Typer's.
    """
    found: Any = error
    if getattr(error, "exit_code", None) != USAGE or not hasattr(error, "format_message"):
        return None
    context: Any = getattr(error, "ctx", None)
    message = str(getattr(error, "message", "")).strip().removesuffix(".")
    if message.startswith("Usage:"):  # a group without a command: its help is the answer
        return CliError(message, USAGE)
    said = _said(found, message)
    near = getattr(error, "possibilities", None)
    if near:
        said += f": did you mean {' or '.join(sorted(near))}?"
    elif context is not None and "did you mean" not in said:
        said += f": `{context.command_path} --help` tells more"
    return CliError(said, USAGE)


def _said(error: Any, message: str) -> str:
    """Place and reason."""
    parameter = getattr(error, "param", None)
    said = f"{message[:1].lower()}{message[1:]}".replace(". Did you", ": did you")
    if parameter is None:
        return said.split(" (Possible options", maxsplit=1)[0]
    option = parameter.param_type_name == "option"
    where = max(parameter.opts, key=len) if option else place(parameter)
    return f"{where}: {said}" if said else f"{where} is missing"
