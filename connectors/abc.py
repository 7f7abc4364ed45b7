"""The contract between connectors and whoever runs them.

A connector is a kind of source (``cron``, ``kafka``, ``sqs``), found by the entry-point group
``orch.connectors`` (see :mod:`connectors.registry`). Instants are integers everywhere:
microseconds since 1970-01-01T00:00:00Z, without leap seconds. Nothing here does I/O.

Exceptions::

    ValueError
    └── SettingsError      settings that the connector does not take; a list of problems
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, TypeAlias, Union

import pydantic

JSON: TypeAlias = Union[  # noqa: UP007 - a recursive alias needs its own name in quotes
    bool, int, float, str, Sequence["JSON"], Mapping[str, "JSON"], None
]

Overlap: TypeAlias = Literal["skip", "queue", "queue_one", "replace", "allow"]
"""What happens to a firing while the run before it is still going."""


class Problem(NamedTuple):
    """One thing that is wrong with settings, in words for a person."""

    path: str
    """Where: a key of the trigger file, ``at[3]``, or "" when no single key is to blame."""
    message: str
    """What is wrong, with the value as it was given."""
    remedy: str
    """What to write instead."""


class SettingsError(ValueError):
    """Settings that a connector does not take. ``problems`` is never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__(
            "\n".join(
                f"{p.path}: {p.message} ({p.remedy})" if p.path else f"{p.message} ({p.remedy})"
                for p in self.problems
            )
        )


class Schedule(ABC):
    """The due times of one time trigger: immutable, pure, safe to share between threads.

    It reads neither the system clock nor the process's time zone. Nothing is due before
    1970 or after 8999.
    """

    @property
    @abstractmethod
    def timezone(self) -> str:
        """The IANA name of the zone in which people read the due times."""

    @property
    @abstractmethod
    def jitter(self) -> int:
        """Width in microseconds over which firing is spread (see ``times.jitter_offset``).

        Due times, and with them the keys of firings, stay nominal: only the instant at which
        a firing begins moves.
        """

    @abstractmethod
    def next_after(self, instant: int) -> int | None:
        """The first due time strictly later than ``instant``; ``None``: never again.

        Monotone: a later ``instant`` never gives an earlier answer. Called with its own
        answers it visits every due time once and no instant twice.
        """

    @abstractmethod
    def describe(self) -> str:
        """A phrase for people, such as "every 15 s"."""

    @abstractmethod
    def marks(self, due: int) -> tuple[str, ...]:
        """What a clock change did to the due time ``due``, in words; mostly empty."""

    def appointments(self) -> Sequence[tuple[str, int]]:
        """The due times of a schedule that is a list of them, each with its place in the settings
        (``when[2]``): one that is over when the trigger is registered is a mistake. Empty: what
        was due before is history."""
        return ()


class Connector(ABC):
    """A kind of source. Made without arguments, once per process; holds no trigger's state."""

    kind: ClassVar[str]
    """The word after ``kind:`` in a trigger file; equal to the name of the entry point."""
    version: ClassVar[str]
    summary: ClassVar[str]
    """One line for ``orch connectors``."""
    settings_model: ClassVar[type[pydantic.BaseModel]]
    """Frozen, ``extra="forbid"``: exactly the keys that this connector reads at the top level
    of a trigger file. Policies (overlap, retry, ...) are not among them."""
    default_overlap: ClassVar[Overlap]
    value_paths: ClassVar[frozenset[str]] = frozenset()
    """Paths that ``${{ }}`` may name in a job of this connector, beyond the common ones."""

    @abstractmethod
    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The part of the settings that says which source this is.

        When it differs from what is registered, checkpoints would point into another source,
        so the change needs ``--reset``. Raises :class:`SettingsError`.
        """


class SourceConnector(Connector):
    """A connector whose events come from outside: see :mod:`connectors.streams` and
    :mod:`connectors.queues`."""

    @abstractmethod
    def check(self, settings: Mapping[str, JSON]) -> None:
        """Raises :class:`SettingsError` for settings it does not take. No I/O."""


class Demand(NamedTuple):
    """What the settings of a :class:`DemandConnector` say of its runs."""

    after: tuple[str, ...] = ()
    """Names of triggers; a run is made when each of them has succeeded."""
    same_time: bool = False
    """They must have succeeded for one due time, not just since the last run."""
    default: bool = False
    """Takes what names no trigger."""
    hidden: frozenset[str] = frozenset()
    """Parameters that are shown to nobody."""


class DemandConnector(Connector):
    """A connector without a source: its runs are asked for one by one, or follow others. Pure."""

    @abstractmethod
    def demand(self, settings: Mapping[str, JSON]) -> Demand:
        """What the settings say. Raises :class:`SettingsError`."""

    @abstractmethod
    def parameters(
        self, settings: Mapping[str, JSON], given: Mapping[str, JSON]
    ) -> Mapping[str, JSON]:
        """The parameters of one run: those given, and the defaults of the others.

        Raises :class:`SettingsError`, with paths relative to the parameters.
        """


class TimeConnector(Connector):
    """A connector whose events are due times. Pure: no I/O, no clock."""

    @abstractmethod
    def schedule(self, settings: Mapping[str, JSON]) -> Schedule:
        """The schedule that these settings describe. Raises :class:`SettingsError`.

        Equal settings may give the same object. Callers need not keep schedules: asking again
        is cheap, and a bounded cache keeps a million triggers from holding one each.
        """
