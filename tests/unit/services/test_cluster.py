"""What the daemon makes of a cluster's answers."""

from __future__ import annotations

import pytest

from bacalhau_client import (
    BacalhauError,
    Forbidden,
    Throttled,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.domain.signals import Signal, Topic
from orchestrator.services.cluster import Cluster, ClusterState
from tests.support.desk import Desk
from tests.support.scripted import answered


def throttled(after: float | None) -> Throttled:
    error = answered(Throttled, 429)
    assert isinstance(error, Throttled)
    error.retry_after = after
    return error


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unreachable("refused"), ClusterState.AWAY),
        (throttled(None), ClusterState.AWAY),
        (answered(Unavailable, 503), ClusterState.AWAY),
        (answered(Unauthorized, 401), ClusterState.UNAUTHORIZED),
        (answered(Forbidden, 403), ClusterState.FORBIDDEN),
    ],
)
def test_trouble_and_recovery(desk: Desk, error: BacalhauError, state: ClusterState) -> None:
    """Each trouble has its word and a pause; a write that goes well ends it and wakes everyone."""
    cluster, heard = desk.cluster, Signal()
    cluster.answered(wrote=True)
    desk.signals.listen(heard, [Topic.READY])
    cluster.failed(error)
    assert cluster.status.state is state
    assert cluster.status.detail == str(error)
    assert cluster.pause() > 0
    assert not cluster.status.blocked
    before = heard.seen()
    desk.clock.advance(SECOND)
    cluster.answered(wrote=True)
    assert (cluster.status.state, cluster.pause()) == (ClusterState.OK, 0)
    assert heard.seen() == before + 1


def test_the_pause_grows_once_a_pause(desk: Desk) -> None:
    """Many threads that hit the same trouble are one step back."""
    pauses: list[float] = []
    for _ in range(4):
        for _ in range(8):
            desk.cluster.failed(Unreachable("refused"))
        pauses.append(desk.cluster.pause())
        desk.clock.advance(int(pauses[-1] * SECOND))
    assert pauses == pytest.approx([0.25, 0.5, 1, 2])


def test_retry_after(desk: Desk) -> None:
    """The cluster's own wish holds, also while reads go well."""
    desk.cluster.failed(throttled(5))
    assert desk.cluster.pause() == pytest.approx(5)
    desk.cluster.answered()
    assert desk.cluster.pause() == pytest.approx(5)
    desk.clock.advance(5 * SECOND)
    assert desk.cluster.pause() == 0


def test_reading_does_not_lift_a_forbidden_write(desk: Desk) -> None:
    """403 stays on the status until a write goes well."""
    desk.cluster.failed(answered(Forbidden, 403))
    desk.cluster.answered()
    assert desk.cluster.status.state is ClusterState.FORBIDDEN
    desk.cluster.answered(wrote=True)
    assert desk.cluster.status.state is ClusterState.OK


class TestIdentity:
    """Which cluster it is."""

    def test_the_first_is_remembered_over_a_restart(self, desk: Desk) -> None:
        """Another one is found out by the next process, too."""
        assert desk.cluster.check_identity()
        again = Cluster(desk.remote.client, desk.ledger.db, desk.clock, desk.signals)
        assert again.status.identity == "cluster-1"
        desk.remote.identity = "cluster-2"
        assert not again.check_identity()
        assert again.status.state is ClusterState.CHANGED
        assert again.pause() == -1

    def test_a_block_outlives_the_process_and_every_answer(self, desk: Desk) -> None:
        """Only a person ends it."""
        desk.cluster.check_identity()
        desk.cluster.seen_identity("cluster-2")
        for cluster in (
            desk.cluster,
            Cluster(desk.remote.client, desk.ledger.db, desk.clock, desk.signals),
        ):
            cluster.answered(wrote=True)
            cluster.failed(Unreachable("gone"))
            cluster.block(ClusterState.LOST, "later trouble")
            assert cluster.status.state is ClusterState.CHANGED
            assert "orch cluster accept" in cluster.status.detail
            assert cluster.pause() == -1

    def test_accepting(self, desk: Desk) -> None:
        """What answers now is ours, from now on and after a restart; everyone is woken."""
        desk.cluster.check_identity()
        desk.cluster.seen_identity("cluster-2")
        desk.remote.identity = "cluster-2"
        heard = Signal()
        desk.signals.listen(heard, [Topic.READY])
        desk.clock.advance(MINUTE)
        assert desk.cluster.accept() == "cluster-2"
        assert heard.seen() == 1
        assert (desk.cluster.status.state, desk.cluster.pause()) == (ClusterState.OK, 0)
        again = Cluster(desk.remote.client, desk.ledger.db, desk.clock, desk.signals)
        assert (again.status.identity, again.status.blocked) == ("cluster-2", False)

    def test_accepting_needs_an_answer(self, desk: Desk) -> None:
        """Nobody accepts a cluster that does not say who it is."""
        desk.cluster.check_identity()
        desk.cluster.seen_identity("cluster-2")
        desk.remote.script["node"].append(Unreachable("gone"))
        with pytest.raises(Unreachable):
            desk.cluster.accept()
        assert desk.cluster.status.blocked

    def test_a_node_without_a_name(self, desk: Desk) -> None:
        """An empty identity says nothing, and blocks nothing."""
        assert desk.cluster.seen_identity("")
        desk.cluster.check_identity()
        assert desk.cluster.seen_identity("")
        assert not desk.cluster.status.blocked
