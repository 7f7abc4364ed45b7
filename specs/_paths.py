"""Which `${{ }}` paths a job may use, and which of them carry data from outside."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class KnownPaths:
    """Paths that a run has values for: `trusted` ones are the orchestrator's own.

    Each is an exact path (`firing.key`) or a prefix that ends in `.*` (`event.*`: that root and
    everything below it).
    """

    trusted: frozenset[str] = field(default_factory=frozenset[str])
    outside: frozenset[str] = field(default_factory=frozenset[str])

    def extended(
        self, *, trusted: tuple[str, ...] = (), outside: tuple[str, ...] = ()
    ) -> KnownPaths:
        """Return these paths and more."""
        return KnownPaths(trusted=self.trusted | set(trusted), outside=self.outside | set(outside))

    def knows(self, path: tuple[str, ...]) -> bool:
        """Whether a run will have a value for this path."""
        return _matches(self.outside, path) or _matches(self.trusted, path)

    def is_outside(self, path: tuple[str, ...]) -> bool:
        """Whether the value comes from outside; so does whatever is not known as trusted."""
        if path[0] == "secret":
            return False
        return _matches(self.outside, path) or not _matches(self.trusted, path)

    def __iter__(self):
        return iter(sorted(self.trusted | self.outside))


def _matches(patterns: frozenset[str], path: tuple[str, ...]) -> bool:
    if ".".join(path) in patterns:
        return True
    return any(".".join((*path[:end], "*")) in patterns for end in range(1, len(path) + 1))


BASE_PATHS = KnownPaths(
    trusted=frozenset(
        {
            "trigger.name",
            "trigger.uid",
            "firing.key",
            "firing.time",
            "run.id",
            "run.attempt",
            "run.deadline",
        }
    )
)
"""What every run has; a connector adds its own."""
