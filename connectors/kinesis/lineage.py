"""Which shards may be read: parents before children, so that a key's records stay in order.

A split or a merge closes shards and opens others, which name them as parents. All of this is
computed from the list of shards and from what is known about each; nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from connectors.kinesis.client import Shard
from connectors.streams import END, Place


def openable(shards: Sequence[Shard], known: Mapping[str, Place]) -> list[str]:
    """The shards that are not known yet and whose parents are all done, in the list's order.

    A parent is done when its place says so, when it is not listed any more (it has expired), or
    when it is unknown itself while something known comes from it: then the trigger began behind
    it. For that reason no ancestor of a known shard is ever opened.
    """
    listed = {shard.name: shard for shard in shards}
    behind = ancestors(shards, known)

    def done(parent: str) -> bool:
        place = known.get(parent)
        if place is not None:
            return place.done == END
        return parent not in listed or parent in behind

    return [
        shard.name
        for shard in shards
        if shard.name not in known
        and shard.name not in behind
        and all(done(parent) for parent in shard.parents)
    ]


def expired(shards: Sequence[Shard], known: Mapping[str, Place]) -> list[str]:
    """Known shards that are done to their end, and of which the stream has nothing left. While one
    is listed it has to be known: else it would be opened anew."""
    listed = {shard.name for shard in shards}
    return [
        name
        for name, place in known.items()
        if place.planned == place.done == END and name not in listed
    ]


def ancestors(shards: Sequence[Shard], names: Iterable[str]) -> set[str]:
    """All shards from which these come, as far as they are listed, without the shards themselves
    (unless one of them comes from another)."""
    listed = {shard.name: shard for shard in shards}
    found: set[str] = set()
    waiting = [parent for name in names if name in listed for parent in listed[name].parents]
    while waiting:
        name = waiting.pop()
        if name not in found and name in listed:
            found.add(name)
            waiting += listed[name].parents
    return found


def first_of(shards: Sequence[Shard], names: Collection[str]) -> list[str]:
    """Those of the named shards that come from no other one of them."""
    return [
        shard.name
        for shard in shards
        if shard.name in names and not (ancestors(shards, [shard.name]) & set(names))
    ]
