"""What the change or the end of a schedule leaves in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update

from orchestrator.domain.states import Origin, Queue, RunState, TriggerState
from orchestrator.store.dialect import Dialect
from orchestrator.store.errors import Lost, Missing
from orchestrator.store.intake import new_run
from orchestrator.store.lines import hold, move_done
from orchestrator.store.registered import Appointment, NewPartition
from orchestrator.store.schema import partitions, runs
from orchestrator.store.values import Trigger
from orchestrator.store.writer import Tx

CHANGED = "changed"  # the reason of the run that bridges two schedules of a trigger
GONE = "trigger deleted"  # the reason of the runs of a trigger that is deleted


def stand_still(tx: Tx, trigger_uid: str) -> None:
    """Let nobody look at a trigger's partitions any more; what a look under way finds is void."""
    tx.conn.execute(
        update(partitions)
        .where(partitions.c.trigger_uid == trigger_uid)
        .values(wake_at=None, epoch=partitions.c.epoch + 1)
    )


def go_on_from(tx: Tx, instance: str, trigger: Trigger, partition: NewPartition, now: int) -> None:
    """Go on from another place. A skipped run bridges the two, so that ranges still tile.

    Raises Missing, and Lost for a partition that is due at this moment.
    """
    mine = (partitions.c.trigger_uid == trigger.uid) & (partitions.c.name == partition.name)
    hold(tx.conn, [(trigger.uid, partition.name)])
    before = tx.conn.execute(select(partitions).where(mine)).mappings().first()
    if before is None:
        raise Missing(f"trigger {trigger.name!r} has no partition {partition.name!r}")
    if before["wake_at"] is not None and before["wake_at"] <= now:
        raise Lost(f"trigger {trigger.name!r} fires at this moment")
    bridge = new_run(
        instance,
        trigger.uid,
        f"version-{trigger.version}",
        version=trigger.version,
        definition=trigger.definition,
        origin=Origin.SOURCE,
        partition=partition.name,
        due_at=now,
        now=now,
    )
    bridge |= {
        "state": RunState.SKIPPED,
        "queue": None,
        "reason": CHANGED,
        "ended_at": now,
        "ordinal": before["ordinal"],
        "range_start": "end" if before["planned"] is None else before["planned"],
        "range_end": "end" if partition.planned is None else partition.planned,
    }
    tx.conn.execute(insert(runs), [bridge])
    wake_at = partition.wake_at if trigger.state is TriggerState.ACTIVE else None
    tx.conn.execute(
        update(partitions)
        .where(mine)
        .values(
            planned=partition.planned,
            ordinal=partitions.c.ordinal + 1,
            wake_at=wake_at,
            epoch=partitions.c.epoch + 1,
        )
    )
    move_done(tx.conn, trigger.uid, partition.name)


def call_off(
    tx: Tx,
    dialect: Dialect,
    instance: str,
    trigger: Trigger,
    appointments: Sequence[Appointment],
    now: int,
) -> None:
    """Let due times that have not fired end as cancelled: whoever waits for them is told."""
    if not appointments:
        return
    place = tx.conn.execute(
        select(partitions).where(partitions.c.trigger_uid == trigger.uid).with_for_update()
    ).mappings().first()  # fmt: skip
    if place is None or place["planned"] is None:
        return
    rows: list[dict[str, Any]] = [
        new_run(
            instance,
            trigger.uid,
            a.key,
            version=trigger.version,
            definition=trigger.definition,
            origin=Origin.SOURCE,
            partition=place["name"],
            due_at=a.due_at,
            now=now,
            data=a.data,
        )
        | {"queue": Queue.LINE, "cancel": GONE}
        for a in appointments
        if a.due_at >= int(place["planned"])
    ]
    dialect.insert_ignore(tx.conn, runs, rows)
