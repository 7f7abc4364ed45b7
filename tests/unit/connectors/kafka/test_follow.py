"""Mode follow: when a life begins, and which commits count as its progress."""

from __future__ import annotations

import pytest

from connectors.kafka.cluster import Committed, Ends, TopicPartition
from connectors.streams import Life, LifeRef, SourceChanged
from tests.support.scriptedkafka import ScriptedCluster, want
from tests.unit.connectors.kafka.conftest import Open

P0 = TopicPartition("t", 0)
GROUP = "orch.i1.logs.u1"
MINUTE = 60_000_000


def life(position: int, *, run_id: str = "r1", attempt: int = 1) -> LifeRef:
    return LifeRef(partition="t/0", run_id=run_id, attempt=attempt, position=str(position))


def test_a_life_begins_where_there_is_something_to_read(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """One life for each idle partition with lag; its job is told the group and its bounds."""
    cluster.make("t", (0, 5), (0, 5), (0, 0), (0, 5))
    source = open_source(mode="follow", life="10m", stall_after="1m", idle_exit="30s")
    (batch,) = source.poll(
        [
            want("t/0", 2),
            want("t/1", 2, idle=False),
            want("t/2", 0),
            want("t/3", 2, 0),
        ],
        0,
    )
    assert (batch.partition, batch.start, batch.end) == ("t/0", "2", "2")
    assert batch.life == Life(duration=10 * MINUTE, stall_after=MINUTE)
    assert batch.values == {
        "kafka": {
            "topic": "t",
            "partition": 0,
            "start": 2,
            "brokers": "127.0.0.1:9092",
            "group": GROUP,
            "isolation": "read_committed",
            "life": 600,
            "idle_exit": 30,
        }
    }


def test_nothing_runs_for_an_empty_partition_unless_kept_warm(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """From zero and back to zero by default; kept warm, a follower also never leaves by itself."""
    cluster.make("t", (0, 5))
    assert open_source(mode="follow").poll([want("t/0", 5)], 0) == []
    (batch,) = open_source(mode="follow", keep_warm=True).poll([want("t/0", 5)], 0)
    assert batch.start == "5"
    assert batch.values["kafka"]["idle_exit"] == 0  # type: ignore[index, call-overload]


def test_what_retention_took_is_lost_before_a_life_begins(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """The life begins at the log's start."""
    cluster.make("t", (4, 9))
    lost, begun = open_source(mode="follow").poll([want("t/0", 1, 2)], 0)
    assert (lost.outcome, lost.start, lost.end) == ("lost", "1", "4")
    assert (begun.start, begun.life is not None) == ("4", True)


def test_only_commits_of_the_current_attempt_count(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """Those of a former attempt, of another run, or of nobody known leave the position alone."""
    cluster.make("t", (0, 10))
    source = open_source(mode="follow")
    for metadata in ("r1/1", "r0/2", "", "r1/2 ", "r1/22"):
        cluster.commits[GROUP, P0] = Committed(7, metadata)
        reached = source.progress([life(3, attempt=2)])["r1"]
        assert (reached.position, reached.lag) == ("3", 7), metadata
    for metadata in ("r1/2", "r1/2\0"):  # the second is what confluent-kafka makes of it
        cluster.commits[GROUP, P0] = Committed(7, metadata)
        reached = source.progress([life(3, attempt=2)])["r1"]
        assert (reached.position, reached.lag) == ("7", 3)


def test_progress_never_goes_back_nor_past_the_end(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """A commit before the known position is an old one; one behind the end is a mistake."""
    cluster.make("t", (0, 10))
    source = open_source(mode="follow")
    for offset in (2, 11):
        cluster.commits[GROUP, P0] = Committed(offset, "r1/1")
        assert source.progress([life(3)])["r1"].position == "3"
    assert source.progress([]) == {}


def test_progress_in_a_topic_that_was_made_again_is_none(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """A follower may go on in the new topic: its commits say nothing of the one before."""
    cluster.make("t", (0, 10))
    source = open_source(mode="follow")
    source.discover({})
    cluster.make("t", (0, 10), id="b" * 32)
    cluster.commits[GROUP, P0] = Committed(7, "r1/1")
    with pytest.raises(SourceChanged):
        source.progress([life(3)])


def test_progress_of_all_lives_is_two_questions(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """Commits of all partitions, then their ends."""
    cluster.make("t", *[(0, 10)] * 50)
    source = open_source(mode="follow")
    lives = [
        LifeRef(partition=f"t/{n}", run_id=f"r{n}", attempt=1, position="0") for n in range(50)
    ]
    cluster.asked.clear()
    assert len(source.progress(lives)) == 50
    assert cluster.asked == {"committed": 1, "ends": 1}


def test_the_group_is_left_to_the_followers(cluster: ScriptedCluster, open_source: Open) -> None:
    """Telling the group how far everything is done would undo what the followers say."""
    cluster.make("t", (0, 10))
    source = open_source(mode="follow")
    source.commit({"t/0": "4"})
    source.poll([want("t/0", 4)], 0)
    assert cluster.commits == {}


def test_lag_is_known_while_a_life_is_open(cluster: ScriptedCluster, open_source: Open) -> None:
    """What is behind the position is counted also where nothing may begin."""
    cluster.make("t", (0, 10))
    source = open_source(mode="follow")
    cluster.held[P0] = Ends(0, 12)
    assert source.poll([want("t/0", 4, 0, idle=False)], 0) == []
    assert source.lag() == {"t/0": 8}


def test_ranges_that_have_runs_do_not_bound_a_life(open_source: Open) -> None:
    """Its job would not know where to stop: whoever runs the source is told so."""
    assert open_source(mode="follow").follows
