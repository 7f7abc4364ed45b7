"""The tables. Instants are microseconds since the epoch (BIGINT), JSON is canonical text.

Why these indexes: every query on the path from a due time to an ended run finds its rows by one
of them, however many schedules and ended runs there are; partial ones stay as small as the work
that is open.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


# What is said once per store: instance name, cluster identity, why dispatching stands still.
meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# The orchestrators that run on this store. A run in flight belongs to one of them; when its lease
# is over another takes the run with the next fencing token.
orchestrators = Table(
    "orchestrators",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)

# Content-addressed, so that a million schedules of one job keep the job once.
templates = Table(
    "templates",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("job", LargeBinary, nullable=False),  # zlib of canonical JSON
)

# What a trigger is, without its name: connector settings, policies, template hash.
definitions = Table(
    "definitions",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

triggers = Table(
    "triggers",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False),
    Column("definition", Text, nullable=False),
    Column("rate_next", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),  # dead runs in a row
    Index("uq_triggers_name", "name", unique=True, **_where("state <> 'deleted'")),
    Index("ix_triggers_deleted", "name", **_where("state = 'deleted'")),
    Index("ix_triggers_deleting", "uid", **_where("state = 'deleting'")),
    sqlite_with_rowid=False,  # rows lie in the order of their key: a trigger's beside each other
)

trigger_versions = Table(
    "trigger_versions",
    metadata,
    Column("trigger_uid", Text, ForeignKey("triggers.uid"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("definition", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    PrimaryKeyConstraint("trigger_uid", "version"),
    sqlite_with_rowid=False,
)

# How an orchestrator gets on with the source of a trigger that has one outside.
sources = Table(
    "sources",
    metadata,
    Column("trigger_uid", Text, ForeignKey("triggers.uid"), primary_key=True),
    Column("identity", Text),  # what the source called itself when its partitions were found
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("since", BigInteger, nullable=False),
    Column("owner", Text),  # the orchestrator that reads it
    Column("restart", Boolean, nullable=False, server_default=text("false")),  # begin anew
    Column("cursor", Text),  # of a source without order: how far it has looked
    sqlite_with_rowid=False,
)

# One row per ordered partition. `planned` is the next event that has no run yet, `done` the first
# that is not finished, `base` where the kept ledger begins (retention moves it).
partitions = Table(
    "partitions",
    metadata,
    Column("trigger_uid", Text, ForeignKey("triggers.uid"), nullable=False),
    Column("name", Text, nullable=False),
    Column("planned", Text),  # NULL: the source is exhausted
    Column("done", Text),
    Column("base", Text),
    Column("ordinal", BigInteger, nullable=False, server_default="0"),  # of the next run
    Column("base_ordinal", BigInteger, nullable=False, server_default="0"),
    Column("epoch", Integer, nullable=False, server_default="0"),  # counts changes by command
    Column("stride", BigInteger, nullable=False, server_default="1"),  # between two ordinals
    Column("generation", Integer, nullable=False, server_default="0"),  # counts jumps by command
    Column("wake_at", BigInteger),  # when to look at the source again; NULL: not by time
    PrimaryKeyConstraint("trigger_uid", "name"),
    # By uid within an instant, so that what is due together lies together in the other indexes.
    Index("ix_partitions_wake", "wake_at", "trigger_uid", **_where("wake_at IS NOT NULL")),
    sqlite_with_rowid=False,
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("trigger_uid", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version", Integer, nullable=False),  # 0: it came with a job of its own
    Column("definition", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("partition", Text, nullable=False),
    Column("ordinal", BigInteger),  # NULL: outside the partition's order (manual, backfill)
    Column("range_start", Text),
    Column("range_end", Text),
    Column("state", Text, nullable=False),
    Column("queue", Text),
    Column("reason", Text, nullable=False, server_default=""),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),  # number of the last one
    Column("tries", Integer, nullable=False, server_default="0"),  # those that count
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("owner", Text),
    Column("cancel", Text),  # why it is to end, once somebody asked
    Column("released", Boolean, nullable=False, server_default=text("false")),  # holds nothing up
    Column("discarded", Boolean, nullable=False, server_default=text("false")),  # needs nobody
    Column("data", Text, nullable=False, server_default="{}"),  # values from the source
    Column("payload", Text),  # input sources that are the run's own, until they are removed
    Column("life_us", BigInteger),  # of a long-lived consumer: how long a job of it goes on
    Column("stall_us", BigInteger),  # how long it may lag without progress
    Column("kept", Text),  # of a dead run: what its source has said of it, as JSON
    UniqueConstraint("trigger_uid", "key"),
    UniqueConstraint("trigger_uid", "partition", "ordinal", name="uq_runs_ordinal"),
    Index("ix_runs_due", "due_at", "id"),
    Index("ix_runs_trigger_due", "trigger_uid", "due_at", "id"),
    Index("ix_runs_open", "trigger_uid", "partition", "ordinal", **_where("ended_at IS NULL")),
    Index("ix_runs_ready", text("priority DESC"), "not_before", **_where("queue = 'ready'")),
    Index(
        "ix_runs_line", "trigger_uid", "partition", "due_at", "ordinal", **_where("queue = 'line'")
    ),
    Index(
        "ix_runs_line_live",
        "trigger_uid",
        "partition",
        "due_at",
        "ordinal",
        **_where("queue = 'line' AND origin <> 'backfill'"),
    ),
    Index("ix_runs_delayed", "not_before", **_where("queue = 'delayed'")),
    Index("ix_runs_future", "not_before", **_where("queue = 'future'")),
    Index("ix_runs_jobs", "state", "due_at", "id", **_where("origin = 'job'")),
    Index("ix_runs_whole", "definition", **_where("version = 0")),
    Index("ix_runs_flight", "owner", **_where("state IN ('submitting', 'running')")),
    Index("ix_runs_cancel", "id", **_where("cancel IS NOT NULL AND ended_at IS NULL")),
    Index("ix_runs_dead", "trigger_uid", "partition", "ordinal", **_where("state = 'dead'")),
    Index("ix_runs_dead_due", "due_at", "id", **_where("state = 'dead'")),
    Index("ix_runs_payload", "trigger_uid", "ended_at", **_where("payload IS NOT NULL")),
    Index("ix_runs_untended", "trigger_uid", **_where("state = 'dead' AND kept IS NULL")),
    Index(
        "ix_runs_service",
        "trigger_uid",
        "partition",
        **_where("origin = 'service' AND ended_at IS NULL"),
    ),
    Index(
        "ix_runs_life",
        "trigger_uid",
        "partition",
        **_where("life_us IS NOT NULL AND ended_at IS NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("job_name", Text, nullable=False),
    Column("job_id", Text),
    Column("namespace", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("spec_hash", Text, nullable=False),
    Column("body", LargeBinary),  # sealed; kept until the cluster's clear answer
    Column("doubt", Boolean, nullable=False, server_default=text("false")),
    Column("faults", Integer, nullable=False, server_default="0"),  # answered 5xx
    Column("exit_code", Integer),
    Column("node_id", Text, nullable=False, server_default=""),
    Column("stdout", Text, nullable=False, server_default=""),
    Column("stderr", Text, nullable=False, server_default=""),
    Column("failed", Text, nullable=False, server_default=""),  # in its result: ranges of places
    Column("execution_us", BigInteger, nullable=False),  # the task's timeout
    Column("total_us", BigInteger, nullable=False),  # the job's TotalTimeout
    Column("grace_us", BigInteger, nullable=False),  # after a stop, before another attempt
    Column("lease_us", BigInteger),  # of a service's task: how long it goes on unheard
    Column("created_at", BigInteger, nullable=False),
    Column("submitted_at", BigInteger),
    Column("running_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("deadline_at", BigInteger),  # after it the job is stopped
    Column("stop_reason", Text),
    Column("stopped_at", BigInteger),  # when the cluster confirmed the stop
    Column("hold_until", BigInteger, nullable=False, server_default="0"),
    Column("counted", Boolean, nullable=False, server_default=text("true")),
    Column("retryable", Boolean, nullable=False, server_default=text("true")),
    Column("settled", Boolean, nullable=False, server_default=text("false")),
    # Of a long-lived consumer: its last progress is still to be read before the run may move.
    Column("closing", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("run_id", "number"),
    Index("uq_attempts_job_name", "job_name", unique=True),
    Index(
        "ix_attempts_deadline",
        "deadline_at",
        **_where("deadline_at IS NOT NULL AND ended_at IS NULL"),
    ),
    Index("ix_attempts_unsettled", "ended_at", **_where("ended_at IS NOT NULL AND NOT settled")),
)

# One row for each event of a source without order: the same event never makes a second run, and its
# source is told what became of it.
inbox = Table(
    "inbox",
    metadata,
    Column("trigger_uid", Text, ForeignKey("triggers.uid"), nullable=False),
    Column("id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("place", Integer, nullable=False),  # in the run's batch, from 0
    Column("state", Text, nullable=False),
    Column("receipt", Text, nullable=False, server_default=""),  # of the latest delivery
    Column("grp", Text, nullable=False, server_default=""),
    Column("at", BigInteger, nullable=False),  # when it came in
    Column("round", Integer, nullable=False, server_default="0"),  # how often it was given back
    Column("returns", Boolean, nullable=False, server_default=text("false")),  # if its run is dead
    Column("extend_at", BigInteger),  # when the source is asked to wait longer
    Column("keep_us", BigInteger, nullable=False),  # how long the id is known afterwards
    Column("expires_at", BigInteger, nullable=False),  # until then it is known in any case
    PrimaryKeyConstraint("trigger_uid", "id"),
    Index("ix_inbox_run", "run_id"),
    Index("ix_inbox_tell", "trigger_uid", **_where("state IN ('acknowledge', 'give_back')")),
    Index("ix_inbox_extend", "trigger_uid", "extend_at", **_where("extend_at IS NOT NULL")),
    Index(
        "ix_inbox_expires", "trigger_uid", "expires_at", **_where("state IN ('done', 'returned')")
    ),
    sqlite_with_rowid=False,
)

# One row for each copy of a service: when its next life may begin, and what its task has reported.
# `run_id`, `attempt` and `execution` say whose heartbeats count: never two at once.
copies = Table(
    "copies",
    metadata,
    Column("trigger_uid", Text, ForeignKey("triggers.uid"), nullable=False),
    Column("name", Text, nullable=False),
    Column("wanted", Boolean, nullable=False, server_default=text("true")),
    Column("lives", BigInteger, nullable=False, server_default="0"),  # number of the newest
    Column("version", Integer, nullable=False, server_default="0"),  # the trigger's, in that life
    Column("leader", BigInteger, nullable=False, server_default="0"),  # number of that life
    Column("run_id", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("execution", Text, nullable=False, server_default=""),
    Column("heartbeat_at", BigInteger),
    Column("progress", Text),  # JSON
    Column("checkpoint", Text),  # JSON
    Column("checkpoints", BigInteger, nullable=False, server_default="0"),  # how many there were
    Column("begun_with", BigInteger, nullable=False, server_default="0"),  # the newest life
    Column("failures", Integer, nullable=False, server_default="0"),  # bad lives in a row
    Column("next_at", BigInteger, nullable=False, server_default="0"),  # back-off
    Column("hold_until", BigInteger, nullable=False, server_default="0"),  # a task may go on
    Column("reason", Text, nullable=False, server_default=""),  # why the last life ended
    PrimaryKeyConstraint("trigger_uid", "name"),
    sqlite_with_rowid=False,
)

# Callbacks, written with the ending that causes them and delivered afterwards.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("done_at", BigInteger),
    Column("error", Text, nullable=False, server_default=""),
    Index("ix_outbox_run", "run_id"),
    Index("ix_outbox_next", "next_at", **_where("done_at IS NULL")),
)

# Which job a client's own key (`Idempotency-Key`) has made, and of which request.
job_keys = Table(
    "job_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Index("ix_job_keys_run", "run_id"),
    sqlite_with_rowid=False,
)

# Which trigger follows which, by name: `event` is a callback, or `after`. The trigger that says so
# is the source of a callback, and the target of an `after`.
edges = Table(
    "edges",
    metadata,
    Column("trigger_uid", Text, ForeignKey("triggers.uid"), nullable=False),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("event", Text, nullable=False),
    PrimaryKeyConstraint("trigger_uid", "source", "target", "event"),
    Index("ix_edges_source", "source", "event"),
    sqlite_with_rowid=False,
)

# What a trigger with `after` has seen succeed and has not fired for yet.
arrivals = Table(
    "arrivals",
    metadata,
    Column("trigger_uid", Text, ForeignKey("triggers.uid"), nullable=False),
    Column("grp", Text, nullable=False),  # the due time that is waited for, or nothing
    Column("source", Text, nullable=False),  # name of the trigger whose run it was
    Column("said", Text, nullable=False),  # JSON: of that run
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("trigger_uid", "grp", "source"),
    Index("ix_arrivals_at", "at"),
    sqlite_with_rowid=False,
)

# Runs whose state has changed since a broker was told of them, written by triggers of the database
# where announcements are wanted.
announcements = Table(
    "announcements",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # counts the changes since
    sqlite_with_rowid=False,
)

# Who did what.
trail = Table(
    "trail",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default="{}"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("role", Text, nullable=False, server_default="admin"),
)


# Conditions of the partial indexes. Written as literals: a planner can not know that a bound
# parameter will equal the constant in an index's WHERE, and would scan the table.
is_ready = runs.c.queue == literal_column("'ready'")
is_delayed = runs.c.queue == literal_column("'delayed'")
is_future = runs.c.queue == literal_column("'future'")
is_job = runs.c.origin == literal_column("'job'")
is_whole = runs.c.version == literal_column("0")
is_in_line = runs.c.queue == literal_column("'line'")
is_live = runs.c.origin != literal_column("'backfill'")
is_live_in_line = and_(is_in_line, is_live)
is_dead = runs.c.state == literal_column("'dead'")
in_flight = runs.c.state.in_([literal_column("'submitting'"), literal_column("'running'")])
wants_cancel = runs.c.cancel.is_not(None) & runs.c.ended_at.is_(None)
# SQLAlchemy writes `~column` as `= 0` on SQLite, which is not the term of the index.
is_unsettled = and_(attempts.c.ended_at.is_not(None), text("NOT attempts.settled"))
is_untended = is_dead & runs.c.kept.is_(None)
has_payload = runs.c.payload.is_not(None)
is_life = runs.c.life_us.is_not(None) & runs.c.ended_at.is_(None)
is_kept_alive = and_(runs.c.origin == literal_column("'service'"), runs.c.ended_at.is_(None))
is_deleted = triggers.c.state == literal_column("'deleted'")
is_deleting = triggers.c.state == literal_column("'deleting'")
is_to_tell = inbox.c.state.in_([literal_column("'acknowledge'"), literal_column("'give_back'")])
is_known = inbox.c.state.in_([literal_column("'done'"), literal_column("'returned'")])
