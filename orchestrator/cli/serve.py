"""`orch serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import config as settings
from orchestrator.cli.errors import USAGE, CliError
from orchestrator.cli.options import with_options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


def _options() -> dict[str, tuple[Any, typer.models.OptionInfo]]:
    """An option for each setting but the secret ones."""
    options: dict[str, tuple[Any, typer.models.OptionInfo]] = {}
    for name, field in settings.Config.model_fields.items():
        if name in settings.SECRETS:
            continue
        option = settings.option_name(name)
        flag = field.annotation is bool
        options[name] = (
            bool | None if flag else str | None,
            typer.Option(
                f"{option}/--no-{option[2:]}" if flag else option,
                help=f"{field.description} {_origin(name, field.default)}",
                metavar=None if flag else _metavar(name),
                show_default=False,
            ),
        )
    return options


def _metavar(name: str) -> str:
    known = {
        "data_dir": "DIR",
        "listen": "HOST:PORT",
        "bacalhau": "URL",
        "public_url": "URL",
        "announce": "URL",
        "bacalhau_user": "NAME",
        "announce_user": "NAME",
        "database": "DSN",
        "log_level": "LEVEL",
    }
    if name in known:
        return known[name]
    if settings.is_duration(name):
        return "TIME"
    kind: Any = settings.Config.model_fields[name].annotation
    if kind == Path | None:
        return "FILE"
    return "N" if kind in (int, float) else "TEXT"


def _origin(name: str, default: Any) -> str:
    variable = f"env {settings.variable_name(name)}"
    if default is None or isinstance(default, bool):
        return f"[{variable}]"
    if settings.is_duration(name):
        import specs

        default = specs.format_duration(default)
    return f"[{variable}; default {default}]"


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings file. [env ORCH_CONFIG; default orch.yaml where there is one]",
            show_default=False,
        ),
    ] = None,
    **options: Any,
) -> None:
    """Run the orchestrator until SIGTERM or SIGINT.

    It then ends what it is in the middle of and leaves running jobs to the cluster; the next start
    goes on with them. A second signal ends it at once, which loses nothing either.

    Each setting is an option, a variable or a key of orch.yaml, in this order. Credentials have no
    option: ORCH_BACALHAU_TOKEN, ORCH_BACALHAU_PASSWORD, ORCH_ANNOUNCE_PASSWORD.
    """
    try:
        chosen = settings.load(options, os.environ, config)
    except settings.ConfigError as error:
        raise CliError("\n".join(error.problems), USAGE) from error
    from orchestrator.cli.daemon import run_daemon

    run_daemon(chosen)


app.command()(with_options(serve, _options()))
