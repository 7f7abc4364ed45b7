"""The state of every run on a broker, from an orchestrator with a local node."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.inprocess import Orch
from tests.support.jobs import IMAGES, NEVER, shell
from tests.support.mosquitto import Mosquitto, Peer
from tests.support.waiting import until

Own = Callable[..., Mosquitto]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    with DevNode(DevNodeConfig(data_dir=tmp_path / "node", images=IMAGES, docker=False)) as node:
        yield node


def _file(script: str, name: str = "asked") -> str:
    return shell(name, script, at=NEVER, retry={"max_attempts": 1})


def _fire(orch: Orch, name: str = "asked") -> str:
    """Let a trigger run once; returns the run's id."""
    return orch.app.timing.fire(name, "test")


class Heard:
    """What somebody who listens has heard, by run."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.states: dict[str, list[str]] = {}
        self.last: dict[str, dict[str, Any]] = {}
        self.expiry: dict[str, int] = {}
        self.retained: set[str] = set()
        peer.subscribe("orch/+/runs/+")

    def of(self, run_id: str) -> list[str]:
        """The states of a run so far."""
        while not self._peer.messages.empty():
            message = self._peer.messages.get()
            said = json.loads(message.payload)
            assert message.topic.endswith(f"/runs/{said['id']}")
            self.states.setdefault(said["id"], []).append(said["state"])
            self.last[said["id"]] = said
            expiry: Any = message.properties
            self.expiry[said["id"]] = expiry.MessageExpiryInterval
            if message.retain:
                self.retained.add(said["id"])
        return self.states.get(run_id, [])

    def until(self, run_id: str, state: str) -> None:
        """Wait until a run is said to be in a state."""
        until(
            lambda: state in self.of(run_id)[-1:], f"{run_id} is {state}", show=lambda: self.states
        )

    def close(self) -> None:
        self._peer.close()


def test_an_asker_waits_on_the_broker_alone(own: Own, node: DevNode, tmp_path: Path):
    """Each state while the run is open; how it ended, with its output, for who comes later, too,
    until the broker forgets it by itself."""
    broker = own()
    heard = Heard(broker.peer())
    script = f"while test ! -e {tmp_path}/go; do sleep 0.05; done; echo done"
    settings = {"announce": broker.url, "announce_keep": 3_000_000}
    with Orch.start(tmp_path / "orch", node.url, **settings) as orch:
        orch.register(_file(script))
        run_id = _fire(orch)
        heard.until(run_id, "running")
        late = Heard(broker.peer())
        late.until(run_id, "running")
        assert run_id in late.retained
        (tmp_path / "go").touch()
        heard.until(run_id, "succeeded")
        said = heard.last[run_id]
        assert (said["trigger"], said["result"]["stdout"].strip()) == ("asked", "done")
        assert said["ended_at"] is not None
        assert heard.expiry[run_id] <= 3
        later = Heard(broker.peer())
        later.until(run_id, "succeeded")

        late.close()
        later.close()
    heard.close()


def test_a_broker_that_was_away_hears_how_things_are(own: Own, node: DevNode, tmp_path: Path):
    """Not each state that has passed meanwhile, but the last one of each run; until then the
    trouble is seen."""
    broker = own()
    with Orch.start(tmp_path / "orch", node.url, announce=broker.url) as orch:
        orch.register(_file("exit 3"))
        broker.stop()
        run_id = _fire(orch)
        until(lambda: orch.run(run_id).state == "dead", "it is dead", within=60)
        [service] = [one for one in orch.app.services if one.name == "announcing"]
        until(lambda: "does not answer" in service.last_error, "it is seen")
        broker.start()
        heard = Heard(broker.peer())
        heard.until(run_id, "dead")
        assert "exit 3" in heard.last[run_id]["reason"]
        until(lambda: not service.last_error, "the trouble is over")
        heard.close()


def test_a_wrong_password_is_seen(own: Own, node: DevNode, tmp_path: Path):
    """By its name, not by itself."""
    broker = own(users={"orch": "hunter2"})
    login: dict[str, Any] = {
        "announce": broker.url,
        "announce_user": "orch",
        "announce_password": "hunter3",
    }
    with Orch.start(tmp_path / "orch", node.url, **login) as orch:
        orch.register(_file("true"))
        _fire(orch)
        [service] = [one for one in orch.app.services if one.name == "announcing"]
        until(lambda: "may not do this" in service.last_error, "it is seen")
        assert "hunter" not in service.last_error
    with Orch.start(
        tmp_path / "orch", node.url, **{**login, "announce_password": "hunter2"}
    ) as orch:
        heard = Heard(broker.peer())
        [run] = orch.runs("asked")  # of the orchestrator before
        heard.until(run.id, "succeeded")
        heard.close()


def test_what_ended_while_nobody_announced(own: Own, node: DevNode, tmp_path: Path):
    """Where a broker is set up later, all that is open is told; what ended before is not."""
    broker = own()
    script = f"while test ! -e {tmp_path}/go; do sleep 0.05; done"
    with Orch.start(tmp_path / "orch", node.url) as orch:
        orch.register(_file("true"))
        over = _fire(orch)
        until(lambda: orch.run(over).ended_at is not None, "the first is over")
        orch.register(_file(script, "slow"))
        open_ = _fire(orch, "slow")
        until(lambda: orch.run(open_).state == "running", "the second runs")
    with Orch.start(tmp_path / "orch", node.url, announce=broker.url):
        heard = Heard(broker.peer())
        heard.until(open_, "running")
        (tmp_path / "go").touch()
        heard.until(open_, "succeeded")
        assert heard.of(over) == []
        heard.close()
