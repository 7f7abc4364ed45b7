"""Help, completion and how quickly they come."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.cli.root import COMMANDS, load
from tests.support.cli import orch

_HEAVY = ("sqlalchemy", "pydantic", "requests", "rich.table", "fastapi", "wasmtime", "yaml")


def _commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, _, _ in COMMANDS:
        command = load(name)
        yield (name,), command
        for inner, sub in getattr(command, "commands", {}).items():
            yield (name, inner), sub


_ALL = [pytest.param(path, command, id=" ".join(path)) for path, command in _commands()]


@pytest.mark.parametrize(("path", "command"), _ALL)
def test_every_command_and_option_is_explained(path: tuple[str, ...], command: Any) -> None:
    """Each command says what it does, and each of its options what it is for."""
    assert command.help, path
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, (path, parameter.name)


@pytest.mark.parametrize("path", [p.values[0] for p in _ALL if p.values[0] != ("dev-node",)])
def test_help_is_printed_and_fits_80_columns(path: tuple[str, ...]) -> None:
    """`--help` ends well, writes to stdout only and fits a terminal of 80 columns."""
    done = orch(*path, "--help", env={"COLUMNS": "80"})
    assert done.code == 0
    assert done.err == ""
    assert done.out.startswith("Usage: orch ")
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_root_help_lists_every_command_whole() -> None:
    """The root's help names all commands, with summaries that are not cut off."""
    done = orch("--help", env={"COLUMNS": "80"})
    for name, _, summary in COMMANDS:
        assert f"{name} " in done.out
        assert summary.rstrip(".") in done.out, name


@pytest.mark.parametrize("path", [p.values[0] for p in _ALL if hasattr(p.values[1], "commands")])
def test_groups_tell_their_commands_whole(path: tuple[str, ...]) -> None:
    """What a command of a group does is not cut off in 80 columns."""
    _, _, listed = orch(*path, "--help", env={"COLUMNS": "80"}).out.partition("Commands:")
    assert listed
    assert "..." not in listed


def test_dev_node_has_a_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """`orch dev-node --help` is the dev node's."""
    done = orch("dev-node", "--help")
    assert done.code == 0
    assert "--image" in done.out


def test_root_help_imports_nothing_heavy() -> None:
    """Help and completion of commands need none of the libraries that take long to import."""
    code = (
        "import sys\nfrom orchestrator.cli.root import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {_HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version() -> None:
    """`--version` names the program and its version."""
    assert orch("--version").out.startswith("orch ")


def test_misspelt_command_is_told() -> None:
    """A command that does not exist names the nearest one and is a usage error."""
    done = orch("trigers")
    assert done.code == 2
    assert "'triggers'" in done.err


def test_misspelt_option_is_told() -> None:
    """So does an option."""
    done = orch("runs", "list", "--trigge", "x")
    assert done.code == 2
    assert "--trigger" in done.err


def _complete(*words: str, env: dict[str, str] | None = None) -> list[str]:
    line = " ".join(words)
    variables = {"_ORCH_COMPLETE": "complete_bash", "COMP_WORDS": line}
    done = orch(env={**variables, "COMP_CWORD": str(len(words) - 1), **(env or {})})
    return done.out.split()


def test_completion_of_commands_and_options() -> None:
    """Commands, those of groups, options and run states are completed."""
    assert "triggers" in _complete("orch", "tri")
    assert {"pause", "resume"} <= set(_complete("orch", "triggers", ""))
    assert "--trigger" in _complete("orch", "runs", "list", "--tr")
    assert _complete("orch", "runs", "list", "--state", "su") == ["submitting", "succeeded"]
    assert "cron" in _complete("orch", "schema", "c")
    assert _complete("orch", "register", "cron", "--overlap", "q") == ["queue", "queue_one"]


def test_completion_of_names_is_silent_without_an_orchestrator() -> None:
    """Nobody to ask: nothing is offered and nothing is written."""
    assert _complete("orch", "triggers", "show", "") == []


@pytest.mark.parametrize("path", [p.values[0] for p in _ALL if p.values[0] != ("dev-node",)])
def test_usage_speaks_no_python(path: tuple[str, ...]) -> None:
    """Usage and help name arguments and values as manual pages do: no types, no braces."""
    for line in orch(*path, "--help", env={"COLUMNS": "80"}).out.splitlines():
        head = line if line.startswith("Usage: ") else line[:30].partition("${{")[0]
        assert not re.search(r"<[a-z]|\{|\[\[|INTEGER|RANGE", head), line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("triggers", "pause"), "NAME is missing: `orch triggers pause --help` tells more"),
        (("foo",), "no such command 'foo': `orch --help` tells more"),
        (("triggers", "puase"), "no such command 'puase': did you mean 'pause'?"),
        (("runs", "list", "--trigge", "x"), "no such option: --trigge: did you mean --trigger?"),
        (("dead", "discard", "--note"), "option '--note' requires an argument"),
    ],
)
def test_misuse_is_told_like_any_other_error(args: tuple[str, ...], said: str) -> None:
    """What the parser finds wrong is one line with its remedy, and 2."""
    done = orch(*args)
    assert (done.code, done.out, done.err) == (2, "", f"orch: {said}\n")


def test_a_group_without_a_command_shows_its_help() -> None:
    """It is no command line that does anything: 2."""
    done = orch("triggers")
    assert done.code == 2
    assert done.err.startswith("Usage: orch triggers ")
