"""The command line, from Typer's own commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from bacalhau_client.devnode import cli as devnode
from generator.markdown import code, fenced, page, sentence, table
from orchestrator.cli import root

_INTRODUCTION = (
    "Options of the root: `--url URL` (`ORCH_URL`), `--version`, `--help`. Exit codes: 0 done, "
    "1 the thing failed, 2 usage, 3 no orchestrator reachable, 130 interrupted."
)


def command_line() -> str:
    """Every command with its options."""
    parts: list[str] = [_INTRODUCTION]
    for name, _, _ in root.COMMANDS:
        command: Any = root.load(name)
        parts += _command(f"orch {name}", command, 2)
        if name == "dev-node":
            parts.append(_dev_node())
    return page("Command line", *parts)


def _command(path: str, command: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} {path}"
    yield _text(command.help or "")
    children: dict[str, Any] = getattr(command, "commands", {})
    if children:
        for name, child in children.items():
            yield from _command(f"{path} {name}", child, level + 1)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = [path, *(["[OPTIONS]"] if options else []), *(_argument(a) for a in arguments)]
    yield fenced(" ".join(usage))
    if options:
        yield table(("Option", "Meaning"), [_option(option) for option in options])


def _dev_node() -> str:
    """The local node stands by itself, so it reads its own options."""
    rows: list[tuple[str, str]] = []
    for action in devnode.parser()._actions:
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        names = ", ".join(code(name + value) for name in action.option_strings)
        rows.append((names, sentence((action.help or "").replace("%%", "%"))))
    return table(("Option", "Meaning"), rows)


def _text(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(sentence(paragraph) for paragraph in paragraphs)


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = name + ("..." if argument.nargs == -1 and "..." not in name else "")
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _option(option: Any) -> tuple[str, str]:
    names = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    shown = ", ".join(code(name + value) for name in names)
    notes = [sentence(option.help or "")]
    if option.required:
        notes.append("Required.")
    if option.envvar and str(option.envvar) not in notes[0]:
        notes.append(f"Environment: {code(option.envvar)}.")
    default = option.default
    if option.show_default and default not in (None, False, "", (), []) and not callable(default):
        notes.append(f"Default: {code(getattr(default, 'value', default))}.")
    return shown, " ".join(note for note in notes if note)
