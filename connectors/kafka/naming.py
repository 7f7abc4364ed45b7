"""Names that stay: of partitions in the store, of a trigger's consumer group, of an attempt."""

from __future__ import annotations

import hashlib

from connectors.kafka.cluster import TopicPartition
from connectors.streams import SourceContext

_LONGEST_TOPIC = 180  # a partition's name has at most 200 characters, a topic up to 249


def partition_name(topic: str, number: int) -> str:
    """``<topic>/<number>``; a very long topic is shortened to its beginning and a hash."""
    if len(topic) > _LONGEST_TOPIC:
        digest = hashlib.sha256(topic.encode()).hexdigest()[:16]
        topic = f"{topic[: _LONGEST_TOPIC - 17]}~{digest}"
    return f"{topic}/{number}"


def topic_partition(topic: str, name: str) -> TopicPartition:
    """The partition of ``topic`` that has this name."""
    return TopicPartition(topic, int(name.rpartition("/")[2]))


def group_of(context: SourceContext) -> str:
    """The trigger's consumer group, in which everyone's lag tools see how far it is."""
    return f"orch.{context.instance}.{context.trigger}.{context.trigger_uid}"


def commit_metadata(run_id: str, attempt: int) -> str:
    """What a task of `follow` writes beside its commits, so that a former one's do not count."""
    return f"{run_id}/{attempt}"
