"""Finds the placeholders of a job and checks that each may stand where it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from specs._argv import program_text_from_outside
from specs._expressions import Expression, ExpressionError, Parts, split
from specs._paths import KnownPaths
from specs._policies import Policies
from specs._problems import Path, suggestion
from specs._schema import Text
from specs._shapes import is_list, is_mapping, items, mapping
from specs._walk import Leaf, Report

_MAX_ARGUMENTS = 1024
_SHELL_REMEDY = (
    "Pass it as an Env value or as an argument after the program text, "
    "or set allow_shell_data: true"
)


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """One `${{ expression }}` and where in the job it stands."""

    path: Path
    expression: str


def placeholders(job: object) -> list[Placeholder]:
    """List every placeholder of a job, in order; strings that cannot be read are left out."""
    found: list[Placeholder] = []

    def look(value: object, path: Path) -> None:
        if isinstance(value, str) and "${{" in value:
            try:
                parts = split(value)
            except ExpressionError:
                return
            found.extend(
                Placeholder(path=path, expression=part.text)
                for part in parts
                if isinstance(part, Expression)
            )
        elif is_mapping(value):
            for key, item in value.items():
                look(item, (*path, key))
        elif is_list(value):
            for index, item in enumerate(value):
                look(item, (*path, index))

    look(job, ())
    return found


class PlaceholderRules:
    """The rules for one job's placeholders; `visit` is called for each string that has some."""

    def __init__(self, known: KnownPaths, policies: Policies, report: Report) -> None:
        self.known = known
        self.policies = policies
        self.report = report

    def visit(self, path: Path, wanted: Leaf, parts: Parts) -> None:
        """Check the placeholders of one string."""
        expressions = [part for part in parts if isinstance(part, Expression)]
        for expression in expressions:
            self.path_is_known(path, expression)
        if expressions and isinstance(wanted, Text):
            rule: Callable[[Path, Parts], None] | None = {
                "env": self.env,
                "assignment": self.assignment,
                "data_url": self.data_url,
            }.get(wanted.role)
            if rule is not None:
                rule(path, parts)

    def path_is_known(self, path: Path, expression: Expression) -> None:
        if expression.path[0] == "secret":
            if len(expression.path) != 2:
                message = f"{expression.text} is not the name of a secret"
                self.report(path, message, "Write ${{ secret.NAME }}")
            elif not self.policies.allow_static_secrets:
                message = (
                    f"{expression.text} would be kept by the node for ever, "
                    "readable to all who may read jobs"
                )
                remedy = "Use short-lived credentials, or set allow_static_secrets: true"
                self.report(path, message, remedy)
        elif not self.known.knows(expression.path):
            message = f"unknown path {expression.text}"
            self.report(path, message, suggestion(expression.text, tuple(self.known)))

    def is_outside(self, expression: Expression) -> bool:
        return self.known.is_outside(expression.path)

    def env(self, path: Path, parts: Parts) -> None:
        outside = any(isinstance(p, Expression) and self.is_outside(p) for p in parts)
        if outside and isinstance(parts[0], str) and parts[0].startswith("env:"):
            message = "data from outside would choose which of the node's own variables is read"
            self.report(path, message, "Remove the env: in front of it")

    def assignment(self, path: Path, parts: Parts) -> None:
        name = parts[0] if isinstance(parts[0], str) else ""
        if "=" not in name:
            message = "the variable's name must stand in the file"
            self.report(path, message, "Write NAME=${{ … }}, or better use Env")

    def data_url(self, path: Path, parts: Parts) -> None:
        head = parts[0] if isinstance(parts[0], str) else ""
        if "," not in head:
            message = "${{ }} may stand only after the comma of a data: URL"
            self.report(path, message, "Write data:text/plain,${{ … }}")
        elif head.partition(",")[0].rstrip().endswith(";base64"):
            message = "${{ }} cannot stand inside base64"
            self.report(path, message, "Write data:text/plain,${{ … }} without ;base64")


def check_program_text(
    task: Mapping[str, Any],
    path: Path,
    *,
    known: KnownPaths,
    report: Report,
) -> None:
    """Report data from outside in what an interpreter on the command line takes as program."""
    engine = mapping(task.get("Engine"))
    params = mapping(engine.get("Params"))
    is_wasm = str(engine.get("Type")).strip().casefold() == "wasm"
    base = (*path, "Engine", "Params")
    argv: list[Parts] = []
    places: list[Path] = []
    if is_wasm:
        argv.append((str(params.get("EntryModule", "")),))
        places.append((*base, "EntryModule"))
    for key in ("Parameters",) if is_wasm else ("Entrypoint", "Parameters"):
        for index, item in enumerate(items(params.get(key))):
            try:
                argv.append(split(item) if isinstance(item, str) else ("",))
            except ExpressionError:
                return
            places.append((*base, key, index))
    if len(argv) > _MAX_ARGUMENTS:
        message = f"more than {_MAX_ARGUMENTS:,} arguments"
        report(base, message, "Pass long lists as an input source")
        return
    found = program_text_from_outside(
        argv,
        entry_known=is_wasm or bool(items(params.get("Entrypoint"))),
        outside=lambda expression: known.is_outside(expression.path),
    )
    for index, reader in found.items():
        names = [
            part.text
            for part in argv[index]
            if isinstance(part, Expression) and known.is_outside(part.path)
        ]
        message = f"data from outside ({', '.join(names)}) would be run as program text by {reader}"
        report(places[index], message, _SHELL_REMEDY)
