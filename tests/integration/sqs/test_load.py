"""Many messages on ElasticMQ: all of them, in order where there is one, by several consumers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from connectors.queues import Message, QueueSource
from tests.integration.sqs.conftest import Open
from tests.support.elasticmq import ElasticMq
from tests.support.sqs import delivery
from tests.support.waiting import until


def _take(source: QueueSource, room: int, wait: float = 0.5) -> Sequence[Message]:
    return source.poll(room, wait).messages


def test_every_message_is_handled_once(elasticmq: ElasticMq, opened: Open):
    """By two sources of one queue, as two orchestrators would; nothing stays in flight."""
    url = elasticmq.queue()
    wanted = [f"message {n}" for n in range(1500)]
    elasticmq.send(url, wanted)
    sources = [opened(url, batch_size=1000), opened(url, max_pollers=2)]
    bodies: list[str] = []
    ids: set[str] = set()
    idle = 0
    while len(ids) < len(wanted) and idle < 60:
        idle += 1
        for source in sources:
            messages = _take(source, 300, 0.1)
            if messages:
                idle = 0
            done = source.acknowledge([delivery(message) for message in messages])
            assert len(done) == len(messages)
            bodies += [str(message.body["body"]) for message in messages]
            ids |= {message.id for message in messages}
    assert sorted(bodies) == sorted(wanted)
    assert len(ids) == len(wanted)
    assert elasticmq.left(url) == (0, 0)


def test_groups_keep_their_order(elasticmq: ElasticMq, opened: Open):
    """With four pollers, also across what is given back; groups go on beside each other."""
    url = elasticmq.queue(fifo=True)
    groups = [f"g{n}" for n in range(7)]
    elasticmq.send(url, [str(n) for n in range(700)], groups)
    source = opened(url, max_pollers=4)
    seen: dict[str, list[int]] = defaultdict(list)
    returned: set[str] = set()
    together = 0

    def all_seen() -> bool:
        nonlocal together
        messages = _take(source, 100)
        together = max(together, len({message.group for message in messages}))
        refused = {m.group for m in messages if m.id not in returned and int(_n(m)) % 50 == 7}
        done = [message for message in messages if message.group not in refused]
        back = [message for message in messages if message.group in refused]
        for message in done:
            seen[message.group].append(int(_n(message)))
        returned.update(message.id for message in back)
        source.acknowledge([delivery(message) for message in done])
        source.give_back([delivery(message) for message in back])
        return sum(map(len, seen.values())) == 700

    until(all_seen, "all came", within=60, show=lambda: {g: len(n) for g, n in seen.items()})
    for number, group in enumerate(groups):
        assert seen[group] == list(range(number, 700, 7))
    assert returned
    assert together > 1


def _n(message: Message) -> str:
    return str(message.body["body"])


def test_a_source_that_ends_leaves_its_messages_to_others(elasticmq: ElasticMq, opened: Open):
    """What was received ahead and not taken is there at once, not after its time in flight."""
    url = elasticmq.queue(VisibilityTimeout="300")
    elasticmq.send(url, [str(n) for n in range(200)])
    first = opened(url)
    taken = _take(first, 200)
    first.close()
    until(lambda: elasticmq.left(url) == (200 - len(taken), len(taken)), "the others wait")
