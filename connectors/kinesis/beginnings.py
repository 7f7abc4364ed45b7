"""Where a new trigger begins in each shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.fields import rfc3339
from connectors.kinesis import lineage
from connectors.kinesis.client import Client, Shard, Stream
from connectors.kinesis.positions import TRIM_HORIZON, Position, at, since
from connectors.kinesis.settings import KinesisSettings
from connectors.streams import Place, SourceRefused
from connectors.times import key


def beginnings(
    client: Client, settings: KinesisSettings, stream: Stream, shards: Sequence[Shard]
) -> Mapping[str, Position]:
    """The shards to read first, and from where; the others follow when their parents are done.

    Raises :class:`SourceRefused` for a start that this stream does not have (yet).
    """
    start = settings.start
    if not isinstance(start, str):
        return _named(start, settings, shards)
    if start == "trim_horizon":
        return dict.fromkeys(lineage.openable(shards, {}), TRIM_HORIZON)
    if start == "latest":
        # What is closed by now ended before. A time, because an iterator for LATEST lasts minutes.
        return {shard.name: since(stream.now) for shard in shards if shard.last is None}
    return _at_time(client, rfc3339(start) // 1000, stream, shards)


def _at_time(
    client: Client, moment: int, stream: Stream, shards: Sequence[Shard]
) -> Mapping[str, Position]:
    if moment > stream.now:
        raise SourceRefused(
            f"the start, {key(moment * 1000)}, has not come: the trigger begins when it has"
        )
    if moment <= max(stream.created, stream.now - stream.retention):
        return dict.fromkeys(lineage.openable(shards, {}), since(moment))
    # A shard that was closed before has nothing to give, one that was opened later follows.
    then = {shard.name for shard in client.shards(open_at=moment)}
    return dict.fromkeys(lineage.first_of(shards, then), since(moment))


def _named(
    start: Mapping[str, str], settings: KinesisSettings, shards: Sequence[Shard]
) -> Mapping[str, Position]:
    missing = start.keys() - {shard.name for shard in shards}
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise SourceRefused(f"`start` names shards that {settings.name!r} does not have: {names}")
    later = lineage.ancestors(shards, start) & start.keys()
    if later:
        names = ", ".join(sorted(later)[:3])
        raise SourceRefused(
            f"`start` names {names} and a shard that follows from it: leave one of them out"
        )
    named = {shard: at(int(number)) for shard, number in start.items()}
    places = {shard: Place(planned=str(place), done=str(place)) for shard, place in named.items()}
    others = lineage.openable(shards, places)
    return {**named, **dict.fromkeys(others, TRIM_HORIZON)}


def opened(shards: Sequence[Shard], known: Mapping[str, Place]) -> Mapping[str, Position]:
    """The shards that came up while the trigger was running, and whose turn it is now."""
    return dict.fromkeys(lineage.openable(shards, known), TRIM_HORIZON)
