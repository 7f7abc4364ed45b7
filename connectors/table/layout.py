"""A table as it is: asked of the database once, and checked against what the settings say.

Columns are read in a form that no value can break: what a driver might fail to decode (a date
beyond the year 9999, JSON that it takes apart by itself) is asked for as text.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    TableClause,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    column,
    func,
    inspect,
    literal,
    table,
    types,
)
from sqlalchemy.exc import SAWarning
from sqlalchemy.sql.elements import quoted_name

from connectors.abc import JSON
from connectors.streams import SourceRefused
from connectors.table import values
from connectors.table.keys import BytesKey, Key, TextKey, UuidKey, WholeKey
from connectors.table.settings import TableSettings

# A type that SQLAlchemy does not know is read as text.
warnings.filterwarnings("ignore", message="Did not recognize type", category=SAWarning)

_REMEDY = "`orch table-sql` prints what makes them, and `states` names others"
_REASON = 500  # characters
_LEAST = {"claimed_by": 60, "run_id": 25}
"""Characters that a column must take."""
_NATIVE = (types.Integer, types.Numeric, types.Boolean, types.String, types.LargeBinary, types.Uuid)
"""Types of which no value is beyond a driver."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """A column that a task gets."""

    name: str
    expression: ColumnElement[Any]
    plain: Callable[[Any], JSON]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table, and what stands where."""

    dialect: str
    table: TableClause
    key: Key
    key_column: ColumnElement[Any]
    reads: Sequence[Read]
    states: Mapping[str, ColumnElement[Any]]
    """The state columns that the table has, by what they are for."""
    writers: Mapping[str, Callable[[int], Any]]
    """For each state that is a time: what is written, of microseconds since 1970."""
    wanted: ColumnElement[bool]
    """What rows need to be taken: a key, and what the settings ask."""
    reason: int
    """Characters of a reason."""

    @property
    def selected(self) -> Sequence[ColumnElement[Any]]:
        """What is asked for: the key, when the row was made, and what the task gets."""
        created = self.states.get("created_at")
        at = [] if created is None else [cast(created, Text)]
        return [self.key_column, *at, *(read.expression for read in self.reads)]

    def is_one_of(self, keys: Sequence[Any]) -> ColumnElement[bool]:
        """The rows with these keys."""
        if self.dialect == "postgresql":  # one value, and not one for each key
            return self.key_column == any_(literal(list(keys), ARRAY(self.key_column.type)))
        given = bindparam(None, list(keys), type_=self.key_column.type, expanding=True)
        return self.key_column.in_(given)

    def cancelled(self, at: int, reason: str) -> dict[ColumnElement[Any], Any]:
        """What is written into a row that nobody is to handle, unless it is cancelled already."""
        stands = self.states["cancelled_at"]
        moment = self.writers["cancelled_at"](at)
        values: dict[ColumnElement[Any], Any] = {stands: func.coalesce(stands, moment)}
        if "reason" in self.states:
            text = "".join(char if char.isprintable() else " " for char in reason)
            values[self.states["reason"]] = text[: self.reason]
        return values

    def row(self, found: Sequence[Any]) -> tuple[str, int | None, dict[str, JSON]]:
        """The id, the time and the body of a row of `selected`. Raises BadKey."""
        first = 2 if "created_at" in self.states else 1
        at = values.instant(found[1]) if first == 2 else None
        body = {
            read.name: read.plain(value)
            for read, value in zip(self.reads, found[first:], strict=True)
        }
        return self.key.id(found[0]), at, body


def look(conn: Connection, settings: TableSettings, place: str) -> Layout:
    """Ask the database. Raises SourceRefused, and what the database raises."""
    name, inspector = settings.table_name, inspect(conn)
    found: dict[str, types.TypeEngine[Any]] = {
        str(one["name"]): one["type"] for one in inspector.get_columns(name.name, name.schema)
    }
    claims = settings.mode == "claim"
    named = settings.states.named() if claims else dict[str, str]()
    mentioned = [settings.key, *named.values(), *(settings.where or {})]
    mentioned += [*(settings.columns or ()), *(settings.json_columns or ())]
    missing = sorted({one for one in mentioned if one not in found})
    if missing:
        listed = ", ".join(map(repr, missing[:10]))
        raise SourceRefused(f"{place} has no column {listed}: {_REMEDY}")
    dialect = conn.dialect.name
    key, key_type = _key(found[settings.key], f"{place}: the key {settings.key!r}")
    if claims and not _is_unique(inspector, settings):
        raise SourceRefused(
            f"{place}: its key {settings.key!r} is neither its primary key nor unique by itself"
        )
    for role, least in _LEAST.items():
        if role in named and _length(found[named[role]], least) < least:
            raise SourceRefused(
                f"{place}: the column {named[role]!r} is too short: {least} characters are needed"
            )
    forms = {one: _form(dialect, kind) for one, kind in found.items()}
    # In SQLite any column holds values of any type.
    forms[settings.key] = types.NullType() if dialect == "sqlite" else key_type
    made = table(
        quoted_name(name.name, quote=True),
        *(column(quoted_name(one, quote=True), form) for one, form in forms.items()),
        schema=None if name.schema is None else quoted_name(name.schema, quote=True),
    )
    states = {role: made.c[one] for role, one in named.items()}
    hidden = {one for role, one in named.items() if role != "created_at"}
    read = settings.columns or [one for one in found if one not in hidden]
    texts = settings.json_columns or ()
    return Layout(
        dialect=dialect,
        table=made,
        key=key,
        key_column=made.c[settings.key],
        reads=[_read(dialect, one, found[one], made.c[one], as_json=one in texts) for one in read],
        states=states,
        writers={
            role: _writer(dialect, found[one], f"{place}: the column {one!r}")
            for role, one in named.items()
            if role.endswith("_at") and role != "created_at"
        },
        wanted=_wanted(settings, made),
        reason=_length(found[named["reason"]], _REASON) if "reason" in named else 0,
    )


def _wanted(settings: TableSettings, made: TableClause) -> ColumnElement[bool]:
    # Columns that are only unique may be empty: nothing could be told about such a row.
    conditions: list[ColumnElement[bool]] = [made.c[settings.key].is_not(None)]
    conditions += [
        made.c[name].in_(list(one)) if isinstance(one, (tuple, list)) else made.c[name] == one
        for name, one in (settings.where or {}).items()
    ]
    return and_(*conditions)


def _length(kind: types.TypeEngine[Any], most: int) -> int:
    """How many characters a column takes, as far as that matters."""
    length = getattr(kind, "length", None)
    return min(length, most) if isinstance(length, int) and length > 0 else most


def _form(dialect: str, kind: types.TypeEngine[Any]) -> types.TypeEngine[Any]:
    """How values of a column are compared and bound."""
    if dialect == "sqlite" or not isinstance(kind, _NATIVE):
        return types.NullType()
    return kind


def _key(kind: types.TypeEngine[Any], what: str) -> tuple[Key, types.TypeEngine[Any]]:
    if isinstance(kind, types.Integer):
        return WholeKey(), types.BigInteger()
    if isinstance(kind, types.Uuid):
        return UuidKey(), kind
    if isinstance(kind, types.LargeBinary) or kind.__visit_name__ in ("BINARY", "VARBINARY"):
        return BytesKey(), types.LargeBinary()
    if isinstance(kind, types.CHAR):  # as a text it would be without its spaces
        return TextKey(), kind
    if isinstance(kind, types.String):
        return TextKey(), types.Text()
    raise SourceRefused(
        f"{what} is of the type {kind}: it must be a whole number, a text or a UUID"
    )


def _is_unique(inspector: Any, settings: TableSettings) -> bool:
    name, alone = settings.table_name, [settings.key]
    where = (name.name, name.schema)
    if inspector.get_pk_constraint(*where)["constrained_columns"] == alone:
        return True
    unique = [one["column_names"] for one in inspector.get_unique_constraints(*where)]
    unique += [one["column_names"] for one in inspector.get_indexes(*where) if one["unique"]]
    return alone in unique


def _read(
    dialect: str,
    name: str,
    kind: types.TypeEngine[Any],
    read: ColumnElement[Any],
    *,
    as_json: bool,
) -> Read:
    if as_json or isinstance(kind, types.JSON):
        expression = cast(read, Text) if dialect == "postgresql" else read
        return Read(name=name, expression=expression, plain=values.document)
    if dialect == "postgresql" and not isinstance(kind, _NATIVE):
        # PostgreSQL writes any type of its own as JSON: arrays, ranges, times without an end.
        text = cast(func.to_jsonb(read), Text)
        return Read(name=name, expression=text, plain=values.document)
    return Read(name=name, expression=read, plain=values.plain)


def _writer(dialect: str, kind: types.TypeEngine[Any], what: str) -> Callable[[int], Any]:
    def moment(at: int) -> datetime:
        return datetime.fromtimestamp(at / 1_000_000, UTC)

    def without_zone(at: int) -> datetime:
        return moment(at).replace(tzinfo=None)

    if dialect == "sqlite":
        return lambda at: without_zone(at).isoformat(sep=" ", timespec="microseconds")
    if isinstance(kind, types.DateTime):
        return moment if kind.timezone else without_zone
    if isinstance(kind, types.String):
        return lambda at: without_zone(at).isoformat(timespec="microseconds") + "Z"
    raise SourceRefused(f"{what} is of the type {kind}: it must be a time")
