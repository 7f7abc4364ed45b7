"""The root of the command line: what commands there are, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from orchestrator.cli.arguments import shown_plainly
from orchestrator.cli.errors import end_with
from orchestrator.cli.misuse import misuse

_MODULE = "orchestrator.cli."

# Name, module, what `orch --help` says. In the order in which people meet them.
COMMANDS: Sequence[tuple[str, str, str]] = (
    ("demo", "demo", "See it work: a local node, orchestrator and examples."),
    ("serve", "serve", "Run the orchestrator."),
    ("dev-node", "devnode", "Run a local node with Bacalhau's HTTP API, for development."),
    ("new", "new", "Write a trigger file and a Dockerfile for a script."),
    ("image", "image", "Build and push the image of a trigger file."),
    ("register", "register", "Register a trigger from options or a file."),
    ("apply", "apply", "Bring triggers to what files say."),
    ("diff", "diff", "Show what `apply` would change."),
    ("validate", "validate", "Check trigger files and jobs, without an orchestrator."),
    ("simulate", "simulate", "Show when a trigger file would fire between two dates."),
    ("schema", "schema", "Print the JSON Schema of a kind's trigger files."),
    ("connectors", "connectors", "List the connectors that are installed."),
    ("table-sql", "tablesql", "Print the SQL of a table whose rows are work."),
    ("status", "status", "Show how the orchestrator and the cluster are."),
    ("triggers", "triggers", "List, show, pause, resume, fire, backfill and delete."),
    ("runs", "runs", "List, show, cancel and retry runs, and read their logs."),
    ("jobs", "jobs", "Ask for jobs, now or later; list and cancel them."),
    ("dead", "dead", "Runs that gave up: list, redrive or discard them."),
    ("checkpoints", "checkpoints", "How far each partition of a trigger has been read."),
    ("audit", "audit", "Prove that the ledger lacks nothing and holds nothing twice."),
    ("trail", "trail", "Show who did what, the newest first."),
    ("cluster", "cluster", "Accept another cluster behind Bacalhau's address."),
    ("token", "token", "Create, list and revoke tokens of the HTTP API."),
    ("backup", "backup", "Write a backup of the store while it runs."),
    ("restore", "restore", "Make a data directory from a backup."),
)
_MODULES = {name: module for name, module, _ in COMMANDS}


class LazyGroup(TyperGroup):
    """Knows the commands' names and imports a command when it is run or completed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in order."""
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """For help, a command that knows its name and summary only."""
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command itself."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            command = load(name)
        return name, command, rest


def load(name: str) -> Any:
    """Import a command."""
    module = importlib.import_module(_MODULE + _MODULES[name])
    command: Any = typer.main.get_command(module.app)
    command.name = name
    return shown_plainly(command)


app = typer.Typer(
    name="orch",
    cls=LazyGroup,
    help="Turns what happens outside into short Bacalhau jobs, and loses none.",
    epilog="`orch COMMAND --help` tells more. Most commands ask the orchestrator at --url.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"orch {version('orch-bacalhau')}")
        except PackageNotFoundError:
            typer.echo("orch (source checkout)")
        raise typer.Exit


@app.callback()
def _root(
    url: Annotated[
        str | None,
        typer.Option(
            envvar="ORCH_URL",
            metavar="URL",
            help="The orchestrator to ask (http://127.0.0.1:7070); a command's --url wins.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if url:
        # Commands are made one by one, each with its own --url: they see this one as its default.
        os.environ["ORCH_URL"] = url


def build() -> Any:
    """The root command."""
    root: Any = typer.main.get_command(app)
    for name, _, summary in COMMANDS:
        root.commands[name] = TyperCommand(name=name, help=summary, rich_markup_mode=None)
    return root


def run(arguments: Sequence[str] | None = None) -> None:
    """Carry out a command line. Always raises SystemExit."""
    try:
        given = None if arguments is None else list(arguments)
        code = build()(args=given, prog_name="orch", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort before the user
        end_with(misuse(error) or error)
    raise SystemExit(code if isinstance(code, int) else 0)
