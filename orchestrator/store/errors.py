"""What the store refuses.

StoreError
├── Unavailable      the database does not answer; the same call may work later
├── Locked           another orchestrator holds this data directory
├── Lost             a conditional update found another state: somebody else moved first
├── Missing          there is no such trigger, run, …
└── Conflict         the command does not fit the present state, with the remedy
"""

from __future__ import annotations


class StoreError(Exception):
    """Anything the store could not do."""


class Unavailable(StoreError):
    """The database does not answer."""


class Locked(StoreError):
    """Another orchestrator holds this data directory."""


class Lost(StoreError):
    """A conditional update found another state than expected."""


class Missing(StoreError):
    """There is no such row."""


class Conflict(StoreError):
    """The command does not fit the present state."""
