"""`orch token`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import Json, Url
from orchestrator.domain.roles import Role

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Create, list and revoke tokens of the HTTP API. From the first one on every call "
    "needs one, as ORCH_TOKEN.",
)

Name = Annotated[str, typer.Argument(help="Whose token it is; the audit trail names it.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Make it in this data directory, without a running orchestrator: the first token, "
        "before it listens on more than loopback.",
    ),
]
Dsn = Annotated[
    str | None,
    typer.Option(metavar="DSN", envvar="ORCH_DATABASE", help="With --data-dir: its database."),
]


@app.command()
def create(
    name: Name,
    role: Annotated[
        Role,
        typer.Option(
            metavar="ROLE",
            help="viewer: sees all; operator: fires, pauses, cancels, redrives what is registered; "
            "admin: registers, and makes tokens.",
        ),
    ] = Role.ADMIN,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long it is good for, such as 30d, or until when."),
    ] = None,
    data_dir: DataDir = None,
    database: Dsn = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown only now."""
    from orchestrator.cli import output
    from orchestrator.cli.errors import say

    if data_dir is not None:
        from orchestrator.cli.local import create_token

        made = create_token(data_dir, database, name, role, expires)
    else:
        from orchestrator.cli.http import Api

        body = {"name": name, "role": role.value}
        made = Api(url).post("tokens", body if expires is None else body | {"expires": expires})
    if as_json:
        output.as_json(made)
        return
    output.line(made["token"])
    until = f" until {output.clock(made['expires_at'])}" if made["expires_at"] else ""
    say(f"good{until}; nobody can read it again. Use it as ORCH_TOKEN")


@app.command("list")
def list_tokens(url: Url = None, as_json: Json = False) -> None:
    """List tokens, without their secrets."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api

    page = Api(url).get("tokens")
    if as_json:
        output.as_json(page)
        return
    if not page["items"]:
        output.line("no tokens: calls from this machine need none")
        return
    zone = output.zone()
    output.table(
        ("NAME", "ROLE", f"CREATED ({zone})", f"EXPIRES ({zone})"),
        [_row(t) for t in page["items"]],
    )


def _row(token: dict[str, Any]) -> tuple[str, str, str, str]:
    from orchestrator.cli import output

    created, expires = (output.clock(token[key]) for key in ("created_at", "expires_at"))
    return token["name"], token["role"], created, expires


@app.command()
def revoke(name: Name, url: Url = None, as_json: Json = False) -> None:
    """Forget a token: calls with it are refused from now on."""
    from orchestrator.cli import output
    from orchestrator.cli.http import Api, segment

    found = Api(url).delete(f"tokens/{segment(name)}")
    if as_json:
        output.as_json(found)
    else:
        output.line(f"{name}: revoked")
