"""The keys of a trigger file that belong to the table connector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from connectors import tables
from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import Secret, Span, Whole, error
from connectors.payloads import INLINE_ALONE, MAX_STORED
from connectors.queues import Gathering
from connectors.storage.fields import Storage
from connectors.table.dsn import Address, parse_dsn
from connectors.tables import BadName, TableName, parse_table
from connectors.times import DAY, MINUTE, SECOND
from connectors.validation import shown, validate

MAX_ROWS_PER_SECOND = 100_000
_MAX_COLUMNS = 500
_MAX_VALUES = 100
_HOUR = 60 * MINUTE
_OF_CLAIM = ("states", "rows_per_second", "max_returns")
_OF_FOLLOW = ("start", "look_back")
_NAME = "write the name as the database knows it, without quotes"


def _named(check: Callable[[str], object]) -> AfterValidator:
    def read(text: str) -> str:
        try:
            check(text)
        except BadName as reason:
            raise error(f"{shown(text)} is no name: {reason}", _NAME) from reason
        return text

    return AfterValidator(read)


def _dsn(value: object) -> object:
    parse_dsn(value)
    return value


def _columns(names: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(names) <= _MAX_COLUMNS:
        raise error(f"there are {len(names)} columns", f"write 1 to {_MAX_COLUMNS}")
    for at, name in enumerate(names):
        if name in names[:at]:
            raise error(f"{shown(name)} stands there twice", "leave it out", f"[{at}]")
    return names


def _rate(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise error(f"{shown(value)} is not a number", "write rows a second, such as 50")
    if not math.isfinite(value) or not 0.001 <= value <= MAX_ROWS_PER_SECOND:
        remedy = f"write 0.001 to {MAX_ROWS_PER_SECOND:_}"
        raise error(f"{shown(value)} rows a second are not possible", remedy)
    return value


def _conditions(value: object) -> object:
    if not isinstance(value, dict) or not value:
        raise error("it is not a mapping of columns", "write {COLUMN: VALUE}")
    conditions = cast("dict[object, object]", value)
    for name, wanted in conditions.items():
        _condition(name, wanted)
    return conditions


def _condition(name: object, wanted: object) -> None:
    try:
        tables.checked_name(name if isinstance(name, str) else "")
    except BadName as reason:
        raise error(f"{shown(name)} is no column: {reason}", _NAME) from reason
    values = cast("list[object]", wanted) if isinstance(wanted, list) else [wanted]
    if not 1 <= len(values) <= _MAX_VALUES:
        raise error(f"{shown(name)} has {len(values)} values", f"write 1 to {_MAX_VALUES}")
    for one in values:
        if isinstance(one, str) and "\0" not in one and one.isprintable():
            continue
        if isinstance(one, bool) or (isinstance(one, int) and abs(one) < 2**63):
            continue
        remedy = "write texts, whole numbers, true or false"
        raise error(f"{shown(one)} is nothing that a column is compared with", remedy)


Column: TypeAlias = Annotated[str, _named(tables.checked_name)]
Columns: TypeAlias = Annotated[tuple[Column, ...], AfterValidator(_columns)]
Where: TypeAlias = Annotated[
    Mapping[str, str | int | bool | tuple[str | int | bool, ...]], BeforeValidator(_conditions)
]


class StateColumns(BaseModel):
    """The columns in which a row's state stands; null where the table has no such column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created_at: Column | None = Field(
        tables.CREATED,
        description="When the publisher has inserted it: older rows go first.",
        examples=["inserted_at"],
    )
    queued_at: Column = Field(
        tables.QUEUED, description="When it was claimed.", examples=["picked_at"]
    )
    started_at: Column | None = Field(
        tables.STARTED, description="When its first task started.", examples=["begun_at"]
    )
    finished_at: Column = Field(
        tables.FINISHED, description="When its run has succeeded.", examples=["done_at"]
    )
    cancelled_at: Column = Field(
        tables.CANCELLED,
        description="When its run was given up or cancelled, or the publisher took it back.",
        examples=["aborted_at"],
    )
    claimed_by: Column = Field(
        tables.CLAIMED_BY,
        description="By whom it was claimed: text of 60 characters or more.",
        examples=["worker"],
    )
    run_id: Column | None = Field(
        tables.RUN_ID, description="The run that it is in.", examples=["orch_run"]
    )
    reason: Column | None = Field(
        tables.REASON, description="Why it was given up or cancelled.", examples=["error"]
    )

    @model_validator(mode="after")
    def _differ(self) -> StateColumns:
        seen: dict[str, str] = {}
        for role, name in self.named().items():
            if name in seen:
                remedy = "name another column"
                raise error(f"{shown(name)} is `{seen[name]}` already", remedy, role)
            seen[name] = role
        return self

    def named(self) -> Mapping[str, str]:
        """The columns that the table has, by what they are for."""
        return {role: name for role, name in self.model_dump().items() if name is not None}


class TableSettings(BaseModel):
    """A table, and how its rows become runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dsn: Annotated[str, BeforeValidator(_dsn)] = Field(
        description="The database, without a password: PostgreSQL, MySQL, MariaDB or a file of "
        "SQLite.",
        examples=["postgresql://orch@db.example/shop", "sqlite:////var/lib/app/jobs.db"],
    )
    password: Secret | None = Field(
        None,
        description="The name of the secret that is the user's password.",
        examples=[{"secret": "SHOP_PASSWORD"}],
    )
    table: Annotated[str, _named(parse_table)] = Field(
        description="The table, in a schema of its own where that is not the user's.",
        examples=["jobs", "app.jobs"],
    )
    key: Column = Field(
        tables.KEY, description="The column that tells rows apart, for ever.", examples=["job_id"]
    )
    mode: Literal["claim", "follow"] = Field(
        "claim",
        description="`claim`: rows are work, and their state is written back. `follow`: the table "
        "only grows, and is only read.",
    )
    states: StateColumns = Field(
        StateColumns(),  # pyright: ignore[reportCallIssue]
        description="The columns in which a row's state stands, where they have other names.",
        examples=[{"queued_at": "picked_at", "run_id": None}],
        json_schema_extra={"default": {}},
    )
    where: Where | None = Field(
        None,
        description="Only rows with these values are taken; of a list any one.",
        examples=[{"kind": "invoice", "region": ["eu", "us"]}],
    )
    columns: Columns | None = Field(
        None,
        description="Columns that a task gets. Without it: all but those of the state.",
        examples=[["id", "payload"]],
    )
    json_columns: Columns | None = Field(
        None,
        description="Columns of text that hold JSON: a task gets what it says. Those that the "
        "database knows as JSON need no mention.",
        examples=[["payload"]],
    )
    every: Annotated[int, Span(low=SECOND // 20, high=DAY)] = Field(
        SECOND,
        description="How often the table is looked at.",
        examples=["200ms", "1m"],
        json_schema_extra={"default": "1s"},
    )
    notify: Column | None = Field(
        None,
        description="PostgreSQL: the channel on which the database tells of new rows. It is still "
        "looked at each `every`.",
        examples=["jobs"],
    )
    batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        1, description="Rows of a run at most.", examples=[100]
    )
    batch_window: Annotated[int, Span(high=_HOUR, zero=True)] = Field(
        SECOND,
        description="A run that is not full goes this long after its first row came; 0: at once.",
        examples=["30s", 0],
        json_schema_extra={"default": "1s"},
    )
    batch_bytes: Annotated[int, Whole(1_000, MAX_STORED)] | None = Field(
        None,
        description=f"Bytes of a run at most. Without it {MAX_STORED}, or {INLINE_ALONE} where no "
        "`storage` is set.",
        examples=[1_000_000],
    )
    rows_per_second: Annotated[float, BeforeValidator(_rate)] | None = Field(
        None,
        description="Rows that are claimed in a second, evenly; one rate for all that read the "
        "table. It is kept in the table `orch_pace` beside it.",
        examples=[50, 0.5],
    )
    max_returns: Annotated[int, Whole(0, 100)] = Field(
        5,
        description="How often a row goes back to the table because its batch succeeded without "
        "it; then it is cancelled.",
        examples=[2],
    )
    remember: Annotated[int, Span(high=30 * DAY, zero=True)] | None = Field(
        None,
        description="How long a row that is done makes no second run: `claim`: if the database "
        "forgets that it is done, by a failover or a backup that was restored (10m without it); "
        "`follow`: if the orchestrator was away or the trigger paused (1d without it).",
        examples=["1h", 0],
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest",
        description="`follow`: whether rows that are there already count.",
    )
    look_back: Annotated[int, Span(low=SECOND, high=7 * DAY)] = Field(
        5 * MINUTE,
        description="`follow`: how long a row may be invisible after one with a higher key was "
        "seen: the longest transaction of a publisher.",
        examples=["1h"],
        json_schema_extra={"default": "5m"},
    )
    storage: Storage | None = Field(
        None,
        description="Where rows go that are too large to travel within the job: a directory that "
        "the nodes share, a bucket, or IPFS.",
        examples=["/srv/orch/batches", "s3://bucket/batches?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long what lies in `storage` is kept once its run has ended.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TableSettings:
        problems = [*self._database(), *self._modes(), *self._names(), *self._sizes()]
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def address(self) -> Address:
        """The database."""
        return parse_dsn(self.dsn)

    @property
    def table_name(self) -> TableName:
        """The table."""
        return parse_table(self.table)

    @property
    def gathering(self) -> Gathering:
        """When rows become a run."""
        return Gathering(
            size=self.batch_size, bytes=self.batch_bytes or 0, window=self.batch_window
        )

    @property
    def remember_for(self) -> int:
        """Microseconds."""
        if self.remember is None:
            return 10 * MINUTE if self.mode == "claim" else DAY
        return self.remember

    def _database(self) -> list[Problem]:
        dialect, problems = self.address.dialect, list[Problem]()
        if dialect == "sqlite" and self.password is not None:
            problems.append(Problem("password", "a file of SQLite has none", "leave it out"))
        if dialect == "sqlite" and self.table_name.schema is not None:
            problems.append(Problem("table", "a file of SQLite has one schema", "leave it out"))
        if dialect != "postgresql" and self.notify is not None:
            message = f"{dialect} tells nobody of new rows"
            problems.append(Problem("notify", message, "leave it out: `every` is how often"))
        return problems

    def _modes(self) -> list[Problem]:
        others = _OF_CLAIM if self.mode == "follow" else _OF_FOLLOW
        wrong = [name for name in others if name in self.model_fields_set]
        message = f"does nothing with mode {self.mode}"
        return [Problem(name, message, "leave it out") for name in wrong]

    def _names(self) -> list[Problem]:
        problems: list[Problem] = []
        roles = {name: role for role, name in self.states.named().items()}
        if self.mode == "claim" and self.key in roles:
            message = f"{shown(self.key)} is `states.{roles[self.key]}`"
            problems.append(Problem("key", message, "name the column that tells rows apart"))
        for at, name in enumerate(self.json_columns or ()):
            if self.columns is not None and name not in self.columns:
                message = f"{shown(name)} is not one of `columns`"
                problems.append(Problem(f"json_columns[{at}]", message, "add it there"))
        return problems

    def _sizes(self) -> list[Problem]:
        problems: list[Problem] = []
        if self.storage is None and (self.batch_bytes or 0) > INLINE_ALONE:
            message = f"{self.batch_bytes} bytes do not travel within a job"
            remedy = f"set `storage`, or write at most {INLINE_ALONE}"
            problems.append(Problem("batch_bytes", message, remedy))
        if self.storage is None and "keep" in self.model_fields_set:
            message = "does nothing without `storage`"
            problems.append(Problem("keep", message, "leave it out, or set `storage`"))
        return problems


def parse_settings(raw: Mapping[str, JSON]) -> TableSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(TableSettings, raw)
