"""Roles: what whoever asks may do. Each may do what the ones before it may."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The values are what people write, in ascending order of rights."""

    VIEWER = "viewer"
    """Sees triggers, runs, logs and the trail."""

    OPERATOR = "operator"
    """Works with what is registered: pauses, fires, backfills, cancels, redrives."""

    ADMIN = "admin"
    """Says what is registered and who may ask; takes the whole store away."""

    def allows(self, needed: Role) -> bool:
        """Whether this is enough where `needed` is asked for."""
        order = list(Role)
        return order.index(self) >= order.index(needed)
