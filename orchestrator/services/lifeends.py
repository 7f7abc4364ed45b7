"""Life ends: where the run of a service's life goes once its attempt has ended. Pure.

A life is tried once: whatever ends it, the copy's next life is another run, after a pause that is
written down with the end. Only an attempt that the cluster could not start is tried again.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.keeping import LIFE_OVER, BadCheckpoint, Pause, checkpoint_in
from orchestrator.domain.retry import Again, RetryPolicy, after_failure
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.store.copies import LifeEnd
from orchestrator.store.endings import Settlement, Unsettled
from orchestrator.store.outbox import Callback
from orchestrator.store.values import Attempt

_ONCE = RetryPolicy(max_attempts=1)
_LEFT = "exit 0"


def decide_life(
    unsettled: Unsettled,
    pause: Pause,
    now: int,
    jitter: Callable[[], float],
    told: Callable[[RunState, str], list[Callback]],
) -> Settlement:
    """Where it goes; `told` are the callbacks of an end."""
    run, attempt = unsettled.run, unsettled.attempt

    def ends(
        state: RunState, reason: str, tries: int, *, well: bool, checkpoint: str | None = None
    ) -> Settlement:
        asked = state is RunState.CANCELLED
        return Settlement(
            unsettled=unsettled,
            state=state,
            reason=reason,
            tries=tries,
            released=state is RunState.DEAD,
            discarded=state is RunState.DEAD,
            callbacks=told(state, reason),
            life=LifeEnd(
                pause=pause,
                # What somebody has asked for is no reason to wait.
                lived=pause.healthy_after if asked else _lived(attempt),
                well=well,
                reason=reason or _LEFT,
                hold_until=0 if attempt is None else attempt.hold_until,
                checkpoint=checkpoint,
                jitter=jitter,
            ),
        )

    if attempt is None:
        return ends(RunState.CANCELLED, run.cancel or "", run.tries, well=True)
    tries = run.tries + (1 if attempt.counted else 0)
    if attempt.state is AttemptState.SUCCEEDED:
        try:
            checkpoint = checkpoint_in(attempt.stdout)
        except BadCheckpoint as error:
            return ends(RunState.DEAD, str(error), tries, well=False)
        return ends(RunState.SUCCEEDED, "", tries, well=True, checkpoint=checkpoint)
    if run.cancel is not None:
        return ends(RunState.CANCELLED, run.cancel, tries, well=True)
    if attempt.state is AttemptState.STOPPED and attempt.reason == LIFE_OVER:
        return ends(RunState.SUCCEEDED, LIFE_OVER, tries, well=True)
    follows = after_failure(
        _ONCE,
        tries=tries,
        counted=attempt.counted,
        retryable=attempt.retryable,
        born=run.created_at,
        now=now,
        hold_until=attempt.hold_until,
        jitter=jitter,
    )
    if isinstance(follows, Again):
        return Settlement(
            unsettled=unsettled,
            state=RunState.PENDING,
            reason=attempt.reason,
            not_before=follows.not_before,
            tries=tries,
        )
    return ends(RunState.DEAD, attempt.reason, tries, well=False)


def _lived(attempt: Attempt | None) -> int:
    """Microseconds that its task ran; one that was stopped is waited for afterwards."""
    if attempt is None or attempt.running_at is None or attempt.ended_at is None:
        return 0
    return max(
        0, min(attempt.ended_at, attempt.stopped_at or attempt.ended_at) - attempt.running_at
    )
