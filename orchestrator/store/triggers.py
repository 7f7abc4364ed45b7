"""Triggers by command: register, change, pause, resume, delete."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, insert, select, update

from orchestrator.domain import names
from orchestrator.domain.signals import Topic
from orchestrator.domain.states import TriggerState
from orchestrator.store import trail
from orchestrator.store.content import keep_content
from orchestrator.store.database import Database
from orchestrator.store.defaults import default_holder, give_default_back, take_default
from orchestrator.store.errors import Conflict, Lost, Missing
from orchestrator.store.follows import drop_arrivals, drop_edges, keep_edges
from orchestrator.store.lines import cancel_open
from orchestrator.store.registered import Appointment as Appointment
from orchestrator.store.registered import Change as Change
from orchestrator.store.registered import NewPartition as NewPartition
from orchestrator.store.registered import NewTrigger as NewTrigger
from orchestrator.store.rescheduling import GONE, call_off, go_on_from, stand_still
from orchestrator.store.rows import to_trigger
from orchestrator.store.schema import (
    definitions,
    partitions,
    templates,
    trigger_versions,
    triggers,
)
from orchestrator.store.sources import add_source, restart_source
from orchestrator.store.values import Trigger
from orchestrator.store.writer import Tx

_IN_CHUNK = 500
_LIVE = (TriggerState.ACTIVE, TriggerState.PAUSED)


class Triggers:
    """The store's side of registration."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(self, new: Sequence[NewTrigger], actor: str) -> list[Trigger]:
        """Register triggers, all or none. Raises Conflict for a name that exists."""
        return self._db.write(lambda tx: self._create(tx, new, actor), "register")

    def _create(self, tx: Tx, new: Sequence[NewTrigger], actor: str) -> list[Trigger]:
        now = self._db.clock.now()
        conn = tx.conn
        taken = self._taken(conn, [trigger.name for trigger in new])
        if taken:
            raise Conflict(
                f"trigger {sorted(taken)[0]!r} exists already: choose another name, change it with "
                "`orch apply`, or delete it first"
            )
        bodies = {t.definition_hash: t.definition for t in new}
        jobs = {t.template_hash: t.job for t in new}
        keep_content(self._db.dialect, tx, bodies, jobs)
        rows: list[dict[str, Any]] = [
            {
                "uid": t.uid,
                "name": t.name,
                "kind": t.kind,
                "state": TriggerState.PAUSED if t.paused else TriggerState.ACTIVE,
                "note": "registered as paused" if t.paused else "",
                "version": 1,
                "definition": t.definition_hash,
                "created_at": now,
                "updated_at": now,
            }
            for t in new
        ]
        conn.execute(insert(triggers), rows)
        conn.execute(
            insert(trigger_versions),
            [
                {
                    "trigger_uid": t.uid,
                    "version": 1,
                    "definition": t.definition_hash,
                    "created_at": now,
                    "created_by": actor,
                }
                for t in new
            ],
        )
        places = [
            {
                "trigger_uid": t.uid,
                "name": p.name,
                "planned": p.planned,
                "done": p.planned,
                "base": p.planned,
                "wake_at": None if t.paused else p.wake_at,
            }
            for t in new
            for p in t.partitions
        ]
        if places:
            conn.execute(insert(partitions), places)
        outside = [t.uid for t in new if t.outside]
        if outside:
            add_source(tx, outside, now)
        keep_edges(self._db.dialect, tx, {t.uid: t.edges for t in new})
        for t in new:
            if t.default:
                take_default(conn, t.uid, t.name)
        trail.write_many(tx, actor, "register", [(t.name, {"uid": t.uid}) for t in new], now)
        tx.notify(Topic.SCHEDULE)
        return [
            Trigger(
                uid=row["uid"],
                name=row["name"],
                kind=row["kind"],
                state=TriggerState(row["state"]),
                note=row["note"],
                version=1,
                definition=row["definition"],
                created_at=now,
                updated_at=now,
            )
            for row in rows
        ]

    def _taken(self, conn: Connection, wanted: Sequence[str]) -> set[str]:
        taken: set[str] = set()
        for start in range(0, len(wanted), _IN_CHUNK):
            chunk = list(wanted[start : start + _IN_CHUNK])
            taken |= set(
                conn.scalars(
                    select(triggers.c.name).where(
                        triggers.c.name.in_(chunk), triggers.c.state != TriggerState.DELETED
                    )
                )
            )
        return taken

    def change(self, trigger: Trigger, change: Change, actor: str) -> Trigger:
        """Give a trigger its next version. Raises Lost if it has changed meanwhile."""

        def operation(tx: Tx) -> Trigger:
            now = self._db.clock.now()
            keep_content(
                self._db.dialect,
                tx,
                {change.definition_hash: change.definition},
                {change.template_hash: change.job},
            )
            row = (
                tx.conn.execute(
                    update(triggers)
                    .where(
                        triggers.c.uid == trigger.uid,
                        triggers.c.version == trigger.version,
                        triggers.c.state.in_(_LIVE),
                    )
                    .values(
                        version=trigger.version + 1,
                        definition=change.definition_hash,
                        updated_at=now,
                    )
                    .returning(triggers)
                )
                .mappings()
                .first()
            )
            if row is None:
                raise Lost(f"trigger {trigger.name!r} was changed by somebody else")
            changed = to_trigger(row)
            tx.conn.execute(
                insert(trigger_versions).values(
                    trigger_uid=trigger.uid,
                    version=changed.version,
                    definition=change.definition_hash,
                    created_at=now,
                    created_by=actor,
                )
            )
            drop_edges(tx, trigger.uid)
            keep_edges(self._db.dialect, tx, {trigger.uid: change.edges})
            if change.default:
                take_default(tx.conn, trigger.uid, trigger.name)
            else:
                give_default_back(tx.conn, trigger.uid)
            for partition in change.partitions or ():
                go_on_from(tx, self._db.instance, changed, partition, now)
            if change.restart:
                restart_source(tx, trigger.uid)
            trail.write(tx, actor, "change", trigger.name, {"version": changed.version}, now)
            tx.notify(Topic.SCHEDULE)
            return changed

        return self._db.write(operation, "change")

    def pause(self, name: str, note: str, actor: str) -> Trigger:
        """Make no new firings; runs that exist go on.

        Said again without a note, it keeps the note that is there.
        """

        def operation(tx: Tx) -> Trigger:
            before = case((triggers.c.state == TriggerState.PAUSED, triggers.c.note), else_="")
            trigger = self._set_state(tx, name, TriggerState.PAUSED, note or before)
            stand_still(tx, trigger.uid)
            trail.write(tx, actor, "pause", name, {"note": note}, trigger.updated_at)
            return trigger

        return self._db.write(operation, "pause")

    def resume(self, name: str, wake: Mapping[str, int | None], actor: str) -> Trigger:
        """Make firings again; `wake` tells for each partition when to look at it."""

        def operation(tx: Tx) -> Trigger:
            trigger = self._set_state(tx, name, TriggerState.ACTIVE, "")
            anew = update(triggers).where(triggers.c.uid == trigger.uid, triggers.c.failures > 0)
            tx.conn.execute(anew.values(failures=0))
            for partition, wake_at in wake.items():
                tx.conn.execute(
                    update(partitions)
                    .where(partitions.c.trigger_uid == trigger.uid, partitions.c.name == partition)
                    .values(wake_at=wake_at, epoch=partitions.c.epoch + 1)
                )
            trail.write(tx, actor, "resume", name, {}, trigger.updated_at)
            tx.notify(Topic.SCHEDULE)
            return trigger

        return self._db.write(operation, "resume")

    def delete(
        self,
        name: str,
        *,
        cancel: bool,
        actor: str,
        appointments: Sequence[Appointment] = (),
    ) -> Trigger:
        """Make no new firings, and let go once the open runs have ended (or are cancelled).

        Said again while it drains, with `cancel`, it ends those that are still open. Of the
        `appointments` those that have not fired come into the ledger, to be cancelled.
        """

        def operation(tx: Tx) -> Trigger:
            live_or_draining = (*_LIVE, TriggerState.DELETING)
            trigger = self._set_state(tx, name, TriggerState.DELETING, "", live_or_draining)
            call_off(
                tx, self._db.dialect, self._db.instance, trigger, appointments, trigger.updated_at
            )
            stand_still(tx, trigger.uid)
            if cancel:
                cancel_open(tx, trigger.uid, None, GONE)
            drop_edges(tx, trigger.uid)
            drop_arrivals(tx, trigger.uid)
            give_default_back(tx.conn, trigger.uid)
            trail.write(tx, actor, "delete", name, {"cancel": cancel}, trigger.updated_at)
            tx.notify(Topic.ENDED)
            return trigger

        return self._db.write(operation, "remove")

    def _set_state(
        self,
        tx: Tx,
        name: str,
        state: TriggerState,
        note: str | ColumnElement[str],
        of: Sequence[TriggerState] = _LIVE,
    ) -> Trigger:
        row = (
            tx.conn.execute(
                update(triggers)
                .where(triggers.c.name == name, triggers.c.state.in_(of))
                .values(state=state, note=note, updated_at=self._db.clock.now())
                .returning(triggers)
            )
            .mappings()
            .first()
        )
        if row is None:
            raise Missing(f"there is no trigger {name!r}")
        return to_trigger(row)

    # -- reading ----------------------------------------------------------------------------

    def default(self) -> Trigger | None:
        """The trigger that takes jobs which name no template."""
        with self._db.read() as conn:
            uid = default_holder(conn)
            row = conn.execute(select(triggers).where(triggers.c.uid == uid)).mappings().first()
        return None if row is None else to_trigger(row)

    def get(self, name: str) -> Trigger:
        """A trigger by its name. Raises Missing."""
        with self._db.read() as conn:
            row = (
                conn.execute(
                    select(triggers).where(
                        triggers.c.name == name, triggers.c.state != TriggerState.DELETED
                    )
                )
                .mappings()
                .first()
            )
        if row is None:
            raise Missing(f"there is no trigger {name!r}")
        return to_trigger(row)

    def named(self, wanted: Sequence[str]) -> dict[str, Trigger]:
        """Triggers by their names; those that do not exist are left out."""
        found: dict[str, Trigger] = {}
        with self._db.read() as conn:
            for start in range(0, len(wanted), _IN_CHUNK):
                statement = select(triggers).where(
                    triggers.c.name.in_(list(wanted[start : start + _IN_CHUNK])),
                    triggers.c.state != TriggerState.DELETED,
                )
                for row in conn.execute(statement).mappings():
                    found[row["name"]] = to_trigger(row)
        return found

    def definitions(self, hashes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Definitions by their hashes."""
        found: dict[str, dict[str, Any]] = {}
        with self._db.read() as conn:
            for start in range(0, len(hashes), _IN_CHUNK):
                chunk = list(hashes[start : start + _IN_CHUNK])
                statement = select(definitions).where(definitions.c.hash.in_(chunk))
                for row in conn.execute(statement):
                    found[row.hash] = json.loads(row.body)
        return found

    def template(self, template_hash: str) -> dict[str, Any]:
        """A job template by its hash. Raises Missing."""
        with self._db.read() as conn:
            job = conn.scalar(select(templates.c.job).where(templates.c.hash == template_hash))
        if job is None:
            raise Missing(f"there is no job template {template_hash}")
        return json.loads(zlib.decompress(job))


def new_uid() -> str:
    """A uid for a trigger, given once."""
    return names.new_trigger_uid()
