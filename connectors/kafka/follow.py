"""Mode ``follow``: one job at a time consumes a partition for a while and commits its progress.

The commit's metadata is ``<run id>/<attempt>``: anything else that commits to the group, such as a
job that was thought dead, is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.abc import JSON
from connectors.kafka.cluster import Ends
from connectors.kafka.naming import commit_metadata, topic_partition
from connectors.kafka.topic import TopicSource
from connectors.streams import Batch, Life, LifeRef, Progress, Want
from connectors.times import SECOND


class FollowSource(TopicSource):
    """Lives of consumers: begun where there is something to read, watched by what they commit."""

    @property
    def follows(self) -> bool:
        return True

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        batches = [batch for want, held in self.look(wants) for batch in self._begin(want, held)]
        if batches:
            self.check_topic()
        return batches

    def progress(self, lives: Sequence[LifeRef]) -> Mapping[str, Progress]:
        if not lives:
            return {}
        topic = self.settings.topic
        places = {life.run_id: topic_partition(topic, life.partition) for life in lives}
        with self.asking() as cluster:
            committed = cluster.committed(self.group, set(places.values()))
        ends = self.ends({life.partition for life in lives})
        reached: dict[str, Progress] = {}
        for life in lives:
            position = int(life.position)
            if life.partition not in ends:
                continue
            found = committed.get(places[life.run_id])
            end = ends[life.partition].end
            # confluent-kafka sends metadata with the NUL that ends it in C. Beyond the end lies
            # nothing that could have been read.
            if (
                found is not None
                and found.metadata.rstrip("\0") == commit_metadata(life.run_id, life.attempt)
                and position < found.offset <= end
            ):
                position = found.offset
            reached[life.run_id] = Progress(position=str(position), lag=max(0, end - position))
        if any(
            life.run_id in reached and reached[life.run_id].position != life.position
            for life in lives
        ):
            self.check_topic()
        return reached

    def commit(self, done: Mapping[str, str]) -> None:
        """Nothing: the group holds what the followers themselves commit."""

    def _begin(self, want: Want, held: Ends) -> list[Batch]:
        batches: list[Batch] = []
        position = int(want.position)
        lost = self.lost(want, held)
        if want.room > 0 and lost is not None:
            batches.append(lost)
            position = held.start
        waiting = held.end > position or self.settings.keep_warm
        if want.idle and want.room > len(batches) and waiting:
            batches.append(self._life(want.partition, position))
        return batches

    def _life(self, partition: str, position: int) -> Batch:
        settings = self.settings
        times: dict[str, JSON] = {
            "life": settings.life // SECOND,
            "idle_exit": 0 if settings.keep_warm else settings.idle_exit // SECOND,
        }
        return Batch(
            partition=partition,
            start=str(position),
            end=str(position),
            values={"kafka": self.values(partition, position) | times},
            life=Life(duration=settings.life, stall_after=settings.stall_after),
        )
