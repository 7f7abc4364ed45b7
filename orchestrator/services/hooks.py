"""Hooks: events that others bring are in the ledger before they get an answer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from connectors.abc import Connector
from connectors.push import PushConnector, PushRefused, PushRequest, Receiver, Taken
from connectors.queues import Message
from connectors.streams import SourceError
from orchestrator import metrics
from orchestrator.domain.clock import Clock
from orchestrator.domain.states import TriggerState
from orchestrator.failpoints import reach
from orchestrator.services.batches import batch_of, checked, event_of, lines_of
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.services.opening import Opener
from orchestrator.store.database import canonical
from orchestrator.store.errors import Missing
from orchestrator.store.inbox import AlreadyTaken, Inboxes, NotActive, Terms
from orchestrator.store.sources import Source, Sources
from orchestrator.store.triggers import Triggers

_log = structlog.get_logger(__name__)
_KEEP = 256  # open receivers
_NO_HOOK = "there is no such hook"
_PAUSED = "the trigger is paused: send it again later"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the sender gets."""

    status: int
    body: Mapping[str, Any]


class Hook:
    """A trigger to which events are brought."""

    def __init__(
        self,
        row: Source,
        definition: Definition,
        max_body: int,
        borrow: Callable[[], AbstractContextManager[Receiver]],
        inboxes: Inboxes,
        clock: Clock,
    ) -> None:
        self._row = row
        self._definition = definition
        self.max_body = max_body
        """Bytes of a request's body."""
        self._borrow = borrow
        self._inboxes = inboxes
        self._clock = clock

    def receive(self, request: PushRequest) -> Answer:
        """Check a request and let it be runs. Raises PushRefused."""
        if self._row.trigger_state is not TriggerState.ACTIVE:
            raise PushRefused(503, _PAUSED)
        try:
            with self._borrow() as receiver:
                taken = receiver.receive(request)
                runs = self._take_in(receiver, taken)
        except PushRefused as refused:
            _log.warning(
                "hook refused",
                trigger=self._row.trigger,
                sender=request.sender,
                status=refused.status,
                reason=refused.reason,
                cause=None if refused.__cause__ is None else str(refused.__cause__),
            )
            raise
        except SourceError as error:
            _log.error("hook failed", trigger=self._row.trigger, error=str(error))
            raise PushRefused(503, "this cannot be stored now: send it again later") from error
        return Answer(status=taken.status, body={**taken.answer, "runs": runs})

    def _take_in(self, receiver: Receiver, taken: Taken) -> list[str]:
        """One run for each message that is not known; returns the new ones."""
        messages = list({message.id: checked(message) for message in taken.messages}.values())
        if not messages:
            return []
        uid, how = self._row.trigger_uid, self._definition.how
        terms = Terms(keep_us=receiver.remember_for)
        for _ in range(_TRIES):
            known = self._inboxes.received(uid, [event_of(message) for message in messages])
            fresh = [message for message in messages if message.id not in known]
            if known and taken.fixed:
                self._refuse_others([m for m in messages if m.id in known], taken.fixed)
            if not fresh:
                return []
            now = self._clock.now()
            batches = [
                batch_of(receiver.describe, receiver.payloads, [line], now)
                for line in lines_of(fresh)
            ]
            reach("hook.packed")
            try:
                found = self._inboxes.take_in(self._row, batches, how, terms)
            except AlreadyTaken:
                continue  # the same request came twice at once: what the other one took is known
            except NotActive as error:
                raise PushRefused(503, _PAUSED) from error
            reach("hook.taken")
            metrics.firings.inc(len(batches))
            return list(found.run_ids)
        raise PushRefused(503, "the same event comes again and again: send it once")

    def _refuse_others(self, messages: Sequence[Message], fixed: Sequence[str]) -> None:
        """Raises PushRefused for a message that says something else than the one with its id that
        came before."""
        uid = self._row.trigger_uid
        before = self._inboxes.values(uid, [message.id for message in messages])
        for message in messages:
            said = before.get(message.id, {}).get("event")
            if said is not None and _parts(said, fixed) != _parts(message.body, fixed):
                raise PushRefused(422, f"{message.id!r} came before, with another body: not taken")


def _parts(body: Mapping[str, Any], names: Sequence[str]) -> str:
    return canonical({name: body[name] for name in names if name in body})


_TRIES = 3


@dataclass
class _Open:
    receiver: Receiver
    users: int = 0
    dropped: bool = False


class Hooks:
    """Finds the hook of a trigger. Thread-safe."""

    def __init__(
        self,
        triggers: Triggers,
        definitions: Definitions,
        sources: Sources,
        inboxes: Inboxes,
        connectors: Mapping[str, Connector],
        opener: Opener,
        clock: Clock,
    ) -> None:
        self._triggers = triggers
        self._definitions = definitions
        self._sources = sources
        self._inboxes = inboxes
        self._connectors = connectors
        self._opener = opener
        self._clock = clock
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()

    def find(self, name: str) -> Hook:
        """The hook of a trigger. Raises Missing, also for triggers that take no requests."""
        try:
            trigger = self._triggers.get(name)
        except Missing as error:
            raise Missing(_NO_HOOK) from error
        connector = self._connectors.get(trigger.kind)
        row = self._sources.get(trigger.uid)
        if row is None or not isinstance(connector, PushConnector):
            raise Missing(_NO_HOOK)
        if row.trigger_state in (TriggerState.DELETING, TriggerState.DELETED):
            raise Missing(_NO_HOOK)
        definition = self._definitions.get(row.definition)

        def borrow() -> AbstractContextManager[Receiver]:
            return self._borrowed(connector, row, definition)

        with borrow() as receiver:
            max_body = receiver.max_body
        return Hook(row, definition, max_body, borrow, self._inboxes, self._clock)

    @contextmanager
    def _borrowed(
        self, connector: PushConnector, row: Source, definition: Definition
    ) -> Generator[Receiver, None, None]:
        """The receiver of a trigger, which nobody closes meanwhile. Raises Missing."""
        found = self._receiver(connector, row, definition)
        if found is None:
            raise Missing(_NO_HOOK)
        try:
            yield found.receiver
        finally:
            with self._lock:
                found.users -= 1
                unused = found.dropped and not found.users
            if unused:
                found.receiver.close()

    def _receiver(
        self, connector: PushConnector, row: Source, definition: Definition
    ) -> _Open | None:
        key = row.trigger_uid, row.definition
        with self._lock:
            found = self._open.get(key)
            if found is not None:
                self._open.move_to_end(key)
                found.users += 1
                return found
        context = self._opener.context(row.trigger_uid, row.trigger)
        receiver = connector.receiver(definition.settings, context)
        if receiver is None:
            return None
        with self._lock:
            kept = self._open.setdefault(key, _Open(receiver))
            kept.users += 1
            dropped = self._open.popitem(last=False)[1] if len(self._open) > _KEEP else None
            if dropped is not None:
                dropped.dropped = True
        if kept.receiver is not receiver:
            receiver.close()  # another request was quicker
        if dropped is not None and not dropped.users:
            dropped.receiver.close()
        return kept

    def close(self) -> None:
        """Let go of all receivers."""
        with self._lock:
            found = list(self._open.values())
            self._open.clear()
        for one in found:
            one.receiver.close()
