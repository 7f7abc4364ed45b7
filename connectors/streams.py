"""The contract of connectors whose events lie in ordered partitions, at positions.

A *position* names a place between two events (a Kafka offset, a Kinesis sequence number). It is
text of letters, digits and ``: . _``, and only its own connector reads it. A *batch* is what one
run is for: the events of one partition in a half-open range of positions. Whoever runs a source
keeps the positions; a source holds nothing that could not be read again, and may be closed or lost
at any moment.

One thread at a time uses a source. Exceptions that a source raises::

    SourceError(Exception)
    ├── SourceUnavailable   nobody answers, or not now: tried again soon
    ├── SourceRefused       the source says no (rights, name, address): tried again now and then
    └── SourceChanged       the name now means another source: stands still until a person decides
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from connectors.abc import JSON, SourceConnector

if TYPE_CHECKING:  # it raises errors of this module
    from connectors.payloads import Payloads

END = "end"
"""The position behind the last event of a partition that is closed for ever."""

Outcome: TypeAlias = Literal["run", "skipped", "lost"]


class SourceError(Exception):
    """What a source could not do, in words for a person. Holds no secret."""


class SourceUnavailable(SourceError):
    """Nobody answers, or not now. Nothing is lost; it is tried again soon, ever less often."""


class SourceRefused(SourceError):
    """The source says no: no such topic, no right, a wrong address or password."""


class SourceChanged(SourceError):
    """What was registered is gone and something else has its name: positions mean nothing there."""


@dataclass(frozen=True, kw_only=True)
class SourceContext:
    """What a source may use of whoever runs it."""

    instance: str
    trigger: str
    trigger_uid: str
    secrets: Mapping[str, str]
    """Values for settings that name a secret. Read on use, never kept or shown."""
    data_dir: Path
    """A directory of this trigger's own for files that only this machine needs; made on use."""
    stop: threading.Event
    """Set when the source is to end: waits are cut short."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a known partition stands. ``planned`` is ``END`` for a closed partition."""

    planned: str
    done: str


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """The partitions that exist now."""

    identity: str
    """Names the source beyond its name (a topic's id): when it changes, positions are void."""
    partitions: Mapping[str, str]
    """Each partition's name and the position at which a new one begins. Those that are known
    already may be left out. A name is stable, and at most 200 printable characters long."""
    over: Collection[str] = ()
    """Known partitions at `END` of which the source has nothing left, so that it would not find
    them again: they are forgotten once the ledger has none of their runs any more."""


@dataclass(frozen=True, kw_only=True)
class Want:
    """A partition from which batches may be planned."""

    partition: str
    position: str
    """The next event that is in no run yet: the first batch must begin here."""
    room: int
    """How many batches may be handed over now; 0: none, reading should pause."""
    idle: bool = True
    """Whether no run of the partition is open."""
    until: str | None = None
    """Where events begin that are in a run already (found again after a restore): no batch goes
    beyond. None: no such place."""
    generation: int = 0
    """How often the partition has been set to another position by command. Events may come again
    then, for other runs: names of objects that are made of a range have to tell them apart."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The events that one run is for."""

    partition: str
    start: str
    end: str
    """Where the next batch begins; ``END`` if there will be none. Of a `life`: equal to `start`."""
    count: int | None = None
    """How many events; None where nobody has counted (gaps make offsets a poor count)."""
    values: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    """What ``${{ }}`` may name: the connector's own root, such as ``kafka``."""
    inputs: Sequence[Mapping[str, JSON]] = ()
    """Bacalhau input sources (``{"Source": {"Type": …, "Params": …}, "Target": …}``): objects that
    are durable already. They belong to the run, and are given to `forget` when it is over."""
    at: int | None = None
    """When the oldest event came, microseconds since the epoch; None: now."""
    outcome: Outcome = "run"
    """``skipped``: nothing in it is to run (filtered). ``lost``: the source no longer has it."""
    reason: str = ""
    """Why, for what does not run."""
    life: Life | None = None
    """Set for a long-lived consumer: its end is not known yet, and follows its progress."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """A job that consumes a partition for a while and commits its own progress.

    The run's values get the position at which an attempt begins under ``<root>.start``, where
    ``root`` is the one key of the batch's values.
    """

    duration: int
    """How long one job consumes, microseconds; it is given a grace beyond that."""
    stall_after: int
    """How long there may be lag without progress before it is replaced, microseconds."""


@dataclass(frozen=True, kw_only=True)
class LifeRef:
    """A life that is under way, or whose last attempt has just ended."""

    partition: str
    run_id: str
    attempt: int
    position: str
    """As far as its progress is known."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a life has reached: never behind the position that was asked about."""

    position: str
    lag: int | None = None
    """Events behind it; None if that cannot be told now."""


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """A run that needs its source once more."""

    run_id: str
    partition: str
    start: str
    end: str
    values: Mapping[str, JSON]
    """Empty for a run that was found on the cluster after a restore, where `given` cannot tell."""
    inputs: Sequence[Mapping[str, JSON]]


class StreamSource(ABC):
    """An open source of one trigger."""

    @property
    @abstractmethod
    def interval(self) -> float:
        """Seconds to wait before `poll` is called again after it had nothing; 0 for a source
        whose `poll` waits by itself."""

    @abstractmethod
    def discover(self, known: Mapping[str, Place]) -> Discovery:
        """The partitions that exist. Called on opening and every ten seconds or so.

        With nothing known, new partitions begin where the settings say; otherwise at their
        beginning, because they came up while the trigger was running.
        """

    @property
    def stale(self) -> bool:
        """Whether partitions have come up of which `discover` has not told: it is called before
        `poll` then. No I/O."""
        return False

    @abstractmethod
    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        """Batches that can run now, in order within each partition; waits up to ``wait`` seconds
        for the first one.

        The batches of a partition begin at its want's position and follow each other without
        gap. Handing over a batch promises nothing: when the next want does not begin behind it,
        it was not taken in and is read again.
        """

    def lag(self) -> Mapping[str, int]:
        """Events behind ``position`` by partition, as the last `poll` has seen it. No I/O."""
        return {}

    def troubles(self) -> Mapping[str, str]:
        """Partitions that cannot be read now while others can, each with why, as the last `poll`
        has seen it. No I/O."""
        return {}

    def starts(self) -> Mapping[str, str]:
        """The oldest position that each partition still has, as the last `poll` has seen it. No
        I/O. Partitions of which nothing is known are left out."""
        return {}

    def gone(self, partition: str, start: str) -> bool:
        """Whether events at ``start`` are known to be gone from the source. No I/O."""
        return False

    @property
    def follows(self) -> bool:
        """Whether its batches are lives. Their jobs know nothing of ranges that have a run already,
        so `Want.until` is not told."""
        return False

    def given(self, partition: str, start: str, end: str) -> Mapping[str, JSON]:
        """What the run of a range is given (`Batch.values`), where the range alone says it: for one
        that was found on the cluster after a restore. Empty: nobody can tell. No I/O."""
        return {}

    def progress(self, lives: Sequence[LifeRef]) -> Mapping[str, Progress]:
        """How far lives have come, by run id. Only what their current attempt has committed
        counts. Lives of which nothing can be told are left out."""
        return {}

    def split(self, run: RunRef) -> Sequence[Batch]:
        """The two halves of a run that fails, or nothing where it is one event.

        May write objects.
        """
        return ()

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        """Called for a run that is dead: keep its events from expiring, where that is set up.

        Returns what people should see of it: ``record`` (the one event, shortened), ``copy``
        (where its events are kept), ``expires_at`` (RFC 3339: when the source forgets them).
        """
        return {}

    def forget(self, inputs: Sequence[Mapping[str, JSON]]) -> None:
        """Remove the objects of a run that is over. Those that are gone already are no error."""
        return

    @property
    def keep_for(self) -> int:
        """How long the objects of an ended run are kept, microseconds."""
        return 0

    @property
    def payloads(self) -> Payloads | None:
        """Where the inputs of its runs were packed, under names of `payloads.range_name`: what is
        there after hours and in no run is removed. None: what it writes is not looked after so."""
        return None

    def commit(self, done: Mapping[str, str]) -> None:
        """Tell the source how far everything is done, by partition, for other tools to see. The
        store stays the truth: what fails here is told again later."""
        return

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and threads. May be called twice."""


class StreamConnector(SourceConnector):
    """A connector with ordered partitions."""

    @abstractmethod
    def position(self, settings: Mapping[str, JSON], text: str) -> str:
        """A position as a person writes it (``orch checkpoints set``), in the connector's own
        form. Raises ValueError that says what to write instead. No I/O."""

    @abstractmethod
    def open(self, settings: Mapping[str, JSON], context: SourceContext) -> StreamSource:
        """A source. Connects on first use: opening does no I/O."""
