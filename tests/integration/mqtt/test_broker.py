"""Sources on a real broker: what is kept, what comes again, what is told apart."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from connectors.broker.address import parse
from connectors.broker.link import Link
from connectors.broker.terms import Terms
from connectors.streams import SourceUnavailable
from tests.integration.mqtt.conftest import Runner, texts
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

Own = Callable[..., Mosquitto]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_lost_while_broker_and_source_are_away(
    own: Own, runner: Runner, protocol: str, qos: int
):
    """What was published while nobody listened comes afterwards, also behind a restart."""
    broker = own()
    settings = {"protocol": protocol, "qos": qos}
    runner.listening(broker.url, **settings)
    peer = broker.peer()
    topic = f"{runner.name}/a"
    peer.publish(topic, ["one"], qos=qos)
    assert texts(runner.come(1, acknowledge=False)) == ["one"]
    runner.close()
    peer.publish(topic, ["two"], qos=qos)
    broker.stop()
    source = runner.open(broker.url, **settings)
    with pytest.raises(SourceUnavailable, match="does not answer"):
        runner.poll()
    broker.start()
    until(peer.client.is_connected, "the publisher is back")
    peer.publish(topic, ["three"], qos=qos)
    assert texts(runner.come(3)) == ["one", "two", "three"]
    assert source.lag() == 0
    peer.close()


@pytest.mark.parametrize("qos", [1, 2])
def test_what_comes_again_is_known(mosquitto: Mosquitto, runner: Runner, qos: int):
    """Messages without ids, after the process was gone: the real broker marks them."""
    runner.listening(mosquitto.url, qos=qos)
    peer = mosquitto.peer()
    peer.publish(f"{runner.name}/a", ["same"] * 5, qos=qos)
    first = {message.id for message in runner.come(5, acknowledge=False)}
    assert len(first) == 5
    runner.open(mosquitto.url, qos=qos)
    assert {message.id for message in runner.come(5)} == first
    runner.open(mosquitto.url, qos=qos)
    peer.publish(f"{runner.name}/a", ["same"], qos=qos)
    [other] = runner.come(1)
    assert other.id not in first
    peer.close()


def test_a_connection_that_is_lost_is_made_anew(own: Own, runner: Runner):
    """Within a source; what it had and the broker was not told of comes again as what it was."""
    broker = own()
    runner.listening(broker.url)
    peer = broker.peer()
    peer.publish(f"{runner.name}/a", ["one", "two"])
    first = runner.come(2, acknowledge=False)
    broker.stop()
    broker.start()
    again = runner.come(2)
    assert [message.id for message in again] == [message.id for message in first]
    assert [message.receipt for message in again] != [message.receipt for message in first]
    peer.close()


def test_qos_0_is_taken_as_it_comes(mosquitto: Mosquitto, runner: Runner):
    """There is nothing to acknowledge."""
    runner.listening(mosquitto.url, qos=0)
    peer = mosquitto.peer()
    peer.publish(f"{runner.name}/a", ["one"], qos=1)
    [message] = runner.come(1)
    assert (message.body["qos"], message.receipt) == (0, "")
    peer.close()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_retained_messages_are_told_apart(
    mosquitto: Mosquitto, runner: Runner, another: Runner, protocol: str
):
    """Taken with their mark where that is asked for, once; otherwise only what happens."""
    peer = mosquitto.peer()
    topic = f"{runner.name}/state"
    peer.publish(topic, ["kept"], retain=True)
    runner.listening(mosquitto.url, retained="take", protocol=protocol)
    another.listening(mosquitto.url, f"{runner.name}/#", protocol=protocol)
    peer.publish(topic, ["new"], retain=True)
    came = runner.come(2)
    assert [(m.body["body"], m.body["retained"]) for m in came] == [("kept", True), ("new", False)]
    assert texts(another.come(1)) == ["new"]
    runner.listening(mosquitto.url, retained="take", protocol=protocol)
    peer.publish(topic, ["newer"])
    assert texts(runner.come(1)) == ["newer"], "the session goes on"
    peer.publish(topic, [b""], retain=True)
    peer.close()


def test_a_shared_subscription_is_shared(mosquitto: Mosquitto, runner: Runner, another: Runner):
    """Each message goes to one of those who have it."""
    shared = f"$share/group/{runner.name}/#"
    runner.listening(mosquitto.url, shared)
    another.listening(mosquitto.url, shared)
    peer = mosquitto.peer()
    peer.publish(f"{runner.name}/a", [str(n) for n in range(40)])
    found: list[str] = []

    def all_() -> bool:
        for one in (runner, another):
            messages = one.poll()
            one.acknowledge(messages)
            found.extend(texts(messages))
        return len(found) >= 40

    until(all_, "all have come", show=lambda: found)
    assert sorted(found, key=int) == [str(n) for n in range(40)]
    peer.close()


def test_properties_travel(mosquitto: Mosquitto, runner: Runner):
    """User properties of MQTT 5, and topics in their levels."""
    runner.listening(mosquitto.url, id={"property": "id"}, filter={"property": {"type": "a"}})
    peer = mosquitto.peer()
    for kind in ("b", "a"):
        pairs = [("id", f"m-{kind}"), ("type", kind)]
        peer.publish(f"{runner.name}/x/y", ["text"], properties=pairs)
    [message] = runner.come(1)
    assert message.id == f"{runner.name}/x/y m-a"
    assert message.body["properties"] == {"id": "m-a", "type": "a"}
    assert message.body["levels"] == [runner.name, "x", "y"]
    assert runner.source is not None
    described = runner.source.describe([message]).values["mqtt"]
    assert isinstance(described, dict)
    assert (described["topic"], described["qos"]) == (f"{runner.name}/x/y", 1)
    assert runner.source.filtered == 1
    runner.open(mosquitto.url, id={"property": "id"})
    peer.publish(f"{runner.name}/end", ["end"])
    assert texts(runner.come(1)) == ["end"], "what was not wanted is acknowledged"
    peer.close()


def test_what_lies_in_memory_is_bounded(own: Own, runner: Runner):
    """Of a broker that gives all at once, by 3.1.1, where nobody can tell it not to."""
    broker = own(inflight=60_000)
    source = runner.listening(broker.url, protocol="3.1.1", max_inflight=50, batch_size=10)
    peer = broker.peer()
    peer.publish(f"{runner.name}/a", ["x" * 2000] * 800)
    most = 0

    def taken() -> bool:
        nonlocal most
        messages = runner.poll(room=10)
        most = max(most, source.lag() or 0)
        runner.acknowledge(messages)
        taken_ids.update(message.id for message in messages)
        return len(taken_ids) >= 800

    taken_ids: set[str] = set()
    until(taken, "all have come", within=60, show=lambda: len(taken_ids))
    assert most <= 50 + 10
    peer.close()


def test_a_will_is_published_when_we_are_gone(own: Own, runner: Runner):
    """Without a word; not when the source is closed."""
    broker = own()
    peer = broker.peer()
    peer.subscribe("status/#")
    will = {"topic": "status/orch", "body": "offline"}
    runner.listening(broker.url, will=will)
    runner.close()
    terms = {"address": parse(broker.url), "client_id": "thief", "lasting": False}
    source = runner.listening(broker.url, will=will, client_id="thief")
    Link(Terms(**terms), threading.Event(), name="thief").open()  # takes the session over
    message = peer.messages.get(timeout=20)
    assert (message.topic, message.payload) == ("status/orch", b"offline")
    assert peer.messages.empty()
    source.close()
    peer.close()


def test_a_link_that_reads_nothing_stays(mosquitto: Mosquitto):
    """Whoever has no room is not taken for dead."""
    goes_on = threading.Event()
    came: list[str] = []
    link = Link(
        Terms(address=parse(mosquitto.url), client_id="slow", keep_alive=1, lasting=False),
        threading.Event(),
        name="slow",
        reads=lambda: not came or goes_on.is_set(),
        received=lambda message: came.append(message.topic),
    )
    link.open()
    link.subscribe("slow/#", 1, retained=False)
    peer = mosquitto.peer()
    peer.publish("slow/1", ["full"])
    until(lambda: came, "it comes")
    peer.publish("slow/2", ["too much"])
    assert not goes_on.wait(4), "longer than the broker waits"
    assert came == ["slow/1"]
    goes_on.set()
    until(lambda: len(came) == 2, "it goes on", show=lambda: link.trouble)
    assert link.alive
    link.close()
    peer.close()
