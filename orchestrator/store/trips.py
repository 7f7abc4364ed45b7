"""Trips: a trigger whose runs are dead one after the other is paused, with what they died of.

Counted in the transaction that ends the runs: no restart forgets one, and none counts twice.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from orchestrator.domain.states import TriggerState
from orchestrator.store import trail
from orchestrator.store.database import storable
from orchestrator.store.rescheduling import stand_still
from orchestrator.store.schema import triggers
from orchestrator.store.values import Run
from orchestrator.store.writer import Tx

ACTOR = "orch"  # who pauses it, in the trail
_NOTE = 500  # characters of a reason

_MINE = triggers.c.uid == bindparam("b_uid")
_NONE = update(triggers).where(_MINE, triggers.c.failures > 0).values(failures=0)
_ONE_MORE = update(triggers).where(_MINE).values(failures=triggers.c.failures + 1)
_COUNTED = select(triggers.c.failures).where(_MINE)


def succeeded(tx: Tx, run: Run) -> None:
    """The next dead run is the first one."""
    tx.conn.execute(_NONE, {"b_uid": run.trigger_uid})


def died(tx: Tx, run: Run, reason: str, trip_after: int, now: int) -> bool:
    """One more in a row. Returns whether it was the one that pauses the trigger."""
    mine = {"b_uid": run.trigger_uid}
    tx.conn.execute(_ONE_MORE, mine)
    failures = tx.conn.scalar(_COUNTED, mine) or 0
    if failures < trip_after:
        return False
    note = f"tripped: {failures} runs in a row were dead, the last one ({run.id}) of: {reason}"
    tripped = tx.conn.execute(
        update(triggers)
        .where(triggers.c.uid == run.trigger_uid, triggers.c.state == TriggerState.ACTIVE)
        .values(state=TriggerState.PAUSED, note=storable(note[:_NOTE]), updated_at=now)
    ).rowcount
    if not tripped:
        return False
    stand_still(tx, run.trigger_uid)
    trail.write(tx, ACTOR, "trip", run.trigger_name, {"note": note[:_NOTE]}, now)
    return True
