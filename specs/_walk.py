"""Walks a job along its schema: right types, known keys, and every string that may be filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from specs._expressions import Expression, ExpressionError, Parts, split
from specs._problems import Path, nearest, quoted, suggestion
from specs._schema import (
    JOB,
    Boolean,
    Field,
    Integer,
    ListOf,
    Object,
    Text,
    TextMap,
    Typed,
)
from specs._shapes import describe, is_list, is_mapping

Report = Callable[[Path, str, str], None]
"""Called with path, message, remedy."""

Leaf = Text | Integer | Boolean
Visit = Callable[[Path, Leaf, Parts], None]
"""Called for each string that holds `${{`: its path, what Bacalhau wants there, its parts."""


def walk(job: object, *, report: Report, visit: Visit) -> None:
    """Check a job's shape and visit its placeholders."""
    _Walker(report, visit).field(JOB, job, ())


class _Walker:
    def __init__(self, report: Report, visit: Visit) -> None:
        self.report = report
        self.visit = visit

    def field(self, wanted: Field, value: Any, path: Path) -> None:
        match wanted:
            case Text():
                self.text(wanted, value, path)
            case Integer():
                self.integer(wanted, value, path)
            case Boolean():
                self.boolean(wanted, value, path)
            case TextMap():
                self.text_map(wanted, value, path)
            case ListOf():
                self.list_of(wanted, value, path)
            case Object():
                self.object(wanted, value, path)
            case Typed():
                self.typed(wanted, value, path)

    def parts(self, wanted: Leaf, value: str, path: Path) -> Parts | None:
        """Cut a string with `${{` into its parts; None where it cannot stand."""
        try:
            parts = split(value)
        except ExpressionError as error:
            self.report(path, str(error).split(". ")[0], str(error).partition(". ")[2])
            return None
        has_expression = any(isinstance(part, Expression) for part in parts)
        if has_expression and getattr(wanted, "fixed", False):
            self.report(path, "${{ }} cannot stand here", "Write the value itself")
            return None
        self.visit(path, wanted, parts)
        return parts

    def text(self, wanted: Text, value: Any, path: Path) -> None:
        if not isinstance(value, str):
            self.report(path, f"must be text, not {describe(value)}", _as_text_remedy(value))
        elif "${{" in value:
            self.parts(wanted, value, path)
        elif not value.strip() and not wanted.empty:
            self.report(path, "must not be empty", "Give it a value or leave the key out")

    def typed_leaf(self, wanted: Leaf, value: Any, path: Path, what: str) -> bool:
        """Whether `value` is one placeholder, which stands for a value of the wanted type."""
        if not isinstance(value, str):
            return False
        if "${{" not in value:
            return False
        parts = self.parts(wanted, value, path)
        if parts is not None and not (len(parts) == 1 and isinstance(parts[0], Expression)):
            self.report(path, f"must be {what}", "Write one ${{ }} and nothing beside it")
        return True

    def integer(self, wanted: Integer, value: Any, path: Path) -> None:
        if self.typed_leaf(wanted, value, path, "a whole number"):
            return
        if isinstance(value, bool) or not isinstance(value, int):
            remedy = "Write it without quotes" if _is_number(value) else "Write digits only"
            self.report(path, f"must be a whole number, not {describe(value)}", remedy)
        elif not wanted.minimum <= value <= wanted.maximum:
            message = f"{value} is outside {wanted.minimum:,} to {wanted.maximum:,}"
            self.report(path, message, f"Write {max(wanted.minimum, min(value, wanted.maximum))}")

    def boolean(self, wanted: Boolean, value: Any, path: Path) -> None:
        if not self.typed_leaf(wanted, value, path, "true or false") and not isinstance(
            value, bool
        ):
            self.report(
                path, f"must be true or false, not {describe(value)}", "Write true or false"
            )

    def text_map(self, wanted: TextMap, value: Any, path: Path) -> None:
        if not is_mapping(value):
            self.report(path, f"must be a mapping, not {describe(value)}", "Write NAME: value")
            return
        for key, item in value.items():
            self.placeholder_key(key, (*path, key))
            self.text(wanted.value, item, (*path, key))

    def unknown(self, key: str, path: Path, known: tuple[str, ...]) -> None:
        if not self.placeholder_key(key, path):
            self.report(path, f"unknown key {quoted(key)}", suggestion(key, known))

    def placeholder_key(self, key: str, path: Path) -> bool:
        if "${{" in key:
            self.report(path, "a key is never filled in", "Move the ${{ }} into the value")
        return "${{" in key

    def list_of(self, wanted: ListOf, value: Any, path: Path) -> None:
        if not is_list(value):
            self.report(path, f"must be a list, not {describe(value)}", "Write each item as - item")
            return
        for index, item in enumerate(value):
            self.field(wanted.item, item, (*path, index))

    def object(self, wanted: Object, value: Any, path: Path) -> None:
        if not is_mapping(value):
            self.report(
                path,
                f"must be a mapping, not {describe(value)}",
                f"Write its keys: {', '.join(wanted.required or tuple(wanted.keys))}",
            )
            return
        for key, item in value.items():
            field = wanted.keys.get(key)
            if field is not None:
                self.field(field, item, (*path, key))
            elif key in wanted.fixed_by_node:
                self.report((*path, key), "is set by the node", "Remove it")
            else:
                self.unknown(key, (*path, key), tuple(wanted.keys))
        for key in wanted.required:
            if key not in value:
                given = nearest(key, [k for k in value if k not in wanted.keys])
                if given is None:
                    self.report(path, f"{key} is missing", f"Add {key}")

    def typed(self, wanted: Typed, value: Any, path: Path) -> None:
        if not is_mapping(value):
            remedy = f"Write Type: {next(iter(wanted.types))} and Params below it"
            self.report(path, f"must be a mapping, not {describe(value)}", remedy)
            return
        for key, item in value.items():
            if key == "Type":
                self.text(Text(fixed=True), item, (*path, key))
            elif key != "Params":
                self.unknown(key, (*path, key), ("Type", "Params"))
        kind = value.get("Type")
        if kind is None:
            self.report(path, "Type is missing", f"Known are {', '.join(wanted.types)}")
        elif isinstance(kind, str) and "${{" not in kind and kind.strip():
            schema = by_type(wanted.types, kind)
            if schema is None:
                message = f"unknown {wanted.what} {quoted(kind)}"
                self.report((*path, "Type"), message, suggestion(kind, tuple(wanted.types)))
            else:
                params = value.get("Params")
                self.object(schema, {} if params is None else params, (*path, "Params"))


def by_type(types: Mapping[str, Object], kind: str) -> Object | None:
    """Find a type's parameters; the node compares types without regard to case."""
    folded = kind.strip().casefold()
    return next((schema for name, schema in types.items() if name.casefold() == folded), None)


def _as_text_remedy(value: object) -> str:
    if isinstance(value, bool):
        return f'Put it in quotes: "{str(value).lower()}"'
    if isinstance(value, int | float):
        return f'Put it in quotes: "{value}"'
    return "Give it a value" if value is None else "Write one text"


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.strip().lstrip("-").isdecimal()
