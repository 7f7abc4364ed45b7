"""Packets that come again: the same message is recognised, and two are never taken for one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from connectors.mqtt.journal import Journal
from connectors.queues import Message
from connectors.streams import SourceRefused, SourceUnavailable
from tests.support.scriptedmqtt import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ScriptedBroker,
)
from tests.support.waiting import until
from tests.unit.connectors.mqtt.conftest import Runner, told


def test_a_message_that_was_not_acknowledged_is_the_same_after_a_crash(
    broker: ScriptedBroker, runner: Runner
) -> None:
    """Its packet comes again, marked so, in the session that goes on."""
    runner.open()
    runner.connected()
    broker.publish("t/a", b"one", 7)
    [first] = runner.come(1)
    broker.present = True
    source = runner.open()
    runner.connected()
    broker.publish("t/a", b"one", 7, dup=True)
    [again] = runner.come(1)
    assert again.id == first.id
    assert again.receipt != first.receipt
    assert list(source.acknowledge(told(first))) == [], "it was delivered anew since"
    assert list(source.acknowledge(told(again))) == [again.id]
    until(lambda: broker.heard(PUBACK) == [7], "the broker is told", show=lambda: broker.said)
    assert broker.heard(SUBSCRIBE) == [1], "a subscription of 3.1.1 is asked for once"


@pytest.mark.parametrize(
    ("body", "dup"), [(b"two", True), (b"one", False)], ids=["other content", "not marked"]
)
def test_the_number_of_a_packet_alone_says_nothing(
    broker: ScriptedBroker, runner: Runner, body: bytes, dup: bool
) -> None:
    """A broker that has lost something gives numbers anew."""
    runner.open()
    runner.connected()
    broker.publish("t/a", b"one", 7)
    [first] = runner.come(1)
    broker.present = True
    runner.open()
    runner.connected()
    broker.publish("t/a", body, 7, dup=dup)
    [other] = runner.come(1)
    assert other.id != first.id


def test_a_number_that_was_freed_is_another_message(broker: ScriptedBroker, runner: Runner) -> None:
    """Equal content, the same packet, marked as delivered before, and after a crash: it was
    acknowledged, so it may be a new message, and is one."""
    source = runner.open()
    runner.connected()
    broker.publish("t/a", b"on", 7)
    [first] = runner.come(1)
    assert list(source.acknowledge(told(first))) == [first.id]
    broker.present = True
    runner.open()
    runner.connected()
    broker.publish("t/a", b"on", 7, dup=True)
    [second] = runner.come(1)
    assert second.id != first.id


def test_a_batch_does_not_wait_for_more_than_the_broker_gives(
    broker: ScriptedBroker, runner: Runner
) -> None:
    """One that gives 20 before it hears of them: its limit is learnt."""
    source = runner.open(batch_size=100, batch_window="200ms")
    runner.connected()
    for begin in range(0, 100, 20):
        for mid in range(begin + 1, begin + 21):
            broker.publish("t/a", b"x", mid)
        messages = runner.come(20)
        source.acknowledge([delivery for message in messages for delivery in told(message)])
        heard = begin + 20
        until(lambda heard=heard: len(broker.heard(PUBACK)) == heard, "the broker hears of them")
    assert source.ceiling == 20


def test_whoever_has_no_place_left_connects_all_the_same(
    broker: ScriptedBroker, runner: Runner
) -> None:
    """The answers of the broker are read, although no message would be."""
    broker.present = True
    source = runner.open(batch_size=3, max_inflight=3, batch_window="1h")
    runner.connected()
    for mid in range(1, 10):
        broker.publish("t/a", b"x", mid)
    until(lambda: (source.lag() or 0) > 3, "there is no place left", show=source.lag)
    broker.drop()
    until(lambda: not source.listening, "the connection is lost")
    assert runner.poll() == ()
    assert source.listening
    for mid in range(1, 10):
        broker.publish("t/a", b"x", mid, dup=True)
    messages = runner.come(9)
    assert len({message.id for message in messages}) == 9


def test_a_session_that_is_lost_frees_its_numbers(broker: ScriptedBroker, runner: Runner) -> None:
    """And what was received but handed to nobody is all that is left of it."""
    source = runner.open(batch_window="1h")
    runner.connected()
    broker.publish("t/a", b"one", 7)
    broker.publish("t/a", b"two", 8)
    until(lambda: source.lag() == 2, "both are here", show=source.lag)
    broker.drop()
    runner.connected()
    broker.publish("t/a", b"one", 7, dup=True)
    until(lambda: (runner.poll(), source.lag())[1] == 3, "all three are kept", show=source.lag)


def test_what_comes_again_is_not_handed_over_twice(broker: ScriptedBroker, runner: Runner) -> None:
    """What waited here when the connection was lost is delivered again by the broker."""
    broker.present = True
    source = runner.open(batch_size=2, batch_window="1h")
    runner.connected()
    broker.publish("t/a", b"one", 7)
    until(lambda: source.lag() == 1, "it is here")
    broker.drop()
    runner.connected()
    broker.publish("t/a", b"one", 7, dup=True)
    broker.publish("t/a", b"two", 8)
    assert [message.body["body"] for message in runner.come(2)] == ["one", "two"]
    assert source.lag() == 0


def test_a_message_of_qos_2_is_acknowledged_when_it_is_in_the_ledger(
    broker: ScriptedBroker, runner: Runner
) -> None:
    """Not before: with PUBREC the broker forgets what it says."""
    broker.granted = b"\2"
    source = runner.open(qos=2)
    runner.connected()
    broker.publish("t/a", b"one", 7, qos=2)
    [message] = runner.come(1)
    assert broker.heard(PUBREC) == []
    assert list(source.acknowledge(told(message))) == [], "until the broker has let go of it"
    until(lambda: broker.heard(PUBREC) == [7], "PUBREC", show=lambda: broker.said)
    assert broker.heard(PUBCOMP) == []
    broker.release(7)
    until(lambda: broker.heard(PUBCOMP) == [7], "PUBCOMP", show=lambda: broker.said)
    assert list(source.acknowledge(told(message))) == [message.id]


def test_a_message_of_qos_2_is_one_whatever_is_lost(broker: ScriptedBroker, runner: Runner) -> None:
    """A crash after PUBREC: the broker may send the message again, or let go of it."""
    broker.granted = b"\2"
    source = runner.open(qos=2)
    runner.connected()
    broker.publish("t/a", b"one", 7, qos=2)
    broker.publish("t/a", b"two", 8, qos=2)
    one, two = runner.come(2)
    source.acknowledge([*told(one), *told(two)])
    until(lambda: len(broker.heard(PUBREC)) == 2, "PUBREC", show=lambda: broker.said)
    broker.present = True
    source = runner.open(qos=2)
    runner.connected()
    broker.publish("t/a", b"one", 7, qos=2, dup=True)
    broker.release(8)
    [again] = runner.come(1)
    assert again.id == one.id
    until(lambda: broker.heard(PUBCOMP) == [8], "PUBCOMP", show=lambda: broker.said)
    assert list(source.acknowledge(told(two))) == [two.id], "its number is free"
    broker.publish("t/a", b"two", 8, qos=2)
    [new] = runner.come(1)
    assert new.id != two.id


def test_another_machine_trusts_no_old_file(broker: ScriptedBroker, runner: Runner) -> None:
    """The store says whose file was written last."""
    runner.open()
    runner.connected()
    broker.publish("t/a", b"on", 7)
    [first] = runner.come(1)
    broker.present = True
    runner.cursor = "of-another-machine"
    runner.open()
    runner.connected()
    broker.publish("t/a", b"on", 7, dup=True)
    [other] = runner.come(1)
    assert other.id != first.id
    assert runner.cursor != "of-another-machine"


def test_a_filter_that_was_changed_is_ended_at_the_broker(
    broker: ScriptedBroker, runner: Runner
) -> None:
    """The session goes on with the new one; what still comes of the old one is acknowledged."""
    runner.open()
    runner.connected()
    until(lambda: broker.heard(SUBSCRIBE), "subscribed", show=runner.poll)
    broker.present = True
    source = runner.open(topic="u/#")
    runner.connected()
    until(lambda: broker.heard(UNSUBSCRIBE), "the old one is ended")
    broker.publish("t/a", b"old", 3)
    broker.publish("u/a", b"new", 4)
    assert [message.body["topic"] for message in runner.come(1)] == ["u/a"]
    until(lambda: broker.heard(PUBACK) == [3], "the old one is acknowledged")
    assert source.strange == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "does not speak this version"),
        (2, "does not take the client id"),
        (4, "user or the password"),
        (5, "may not do this"),
    ],
)
def test_a_refusal_is_told_in_words(
    broker: ScriptedBroker, runner: Runner, code: int, words: str
) -> None:
    """By an error that says what to look at."""
    broker.code = code
    runner.open()
    runner.poll()
    with pytest.raises(SourceRefused, match=words):
        runner.poll()


def test_a_broker_that_cannot_answer_now(broker: ScriptedBroker, runner: Runner) -> None:
    """It is tried again soon."""
    broker.code = 3
    runner.open()
    runner.poll()
    with pytest.raises(SourceUnavailable, match="unavailable"):
        runner.poll()


def test_a_filter_that_is_refused(broker: ScriptedBroker, runner: Runner) -> None:
    """By the answer to SUBSCRIBE."""
    broker.granted = b"\x80"
    runner.open()
    runner.poll()
    with pytest.raises(SourceRefused, match="the subscription to 't/#': it does not take"):
        runner.poll()


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (0x8E, SourceRefused, "orch-i-sensors-u1: another client has taken over the session"),
        (0x87, SourceRefused, "may not do this"),
        (0x8B, SourceUnavailable, "shutting down"),
    ],
)
def test_a_broker_says_why_it_ends_the_connection(
    broker: ScriptedBroker, runner: Runner, code: int, kind: type[Exception], words: str
) -> None:
    """With MQTT 5. What needs somebody to look is told, and not only mended."""
    broker.newer = True
    source = runner.open(protocol="5")
    until(lambda: (runner.poll(), source.listening)[1], "it listens")
    broker.send(bytes([0xE0, 2, code, 0]))
    said: list[str] = []

    def told_so() -> bool:
        try:
            runner.poll()
        except kind as error:
            said.append(str(error))
        return bool(said) or (kind is SourceUnavailable and broker.connections > 1)

    until(told_so, "it is told")
    assert not said or words in said[0]


def test_a_broker_that_ends_each_connection(broker: ScriptedBroker, runner: Runner) -> None:
    """With 3.1.1 nobody says that another client has the same id, so it is asked."""
    broker.present = True
    source = runner.open()
    runner.connected()
    until(lambda: broker.heard(SUBSCRIBE), "subscribed", show=runner.poll)
    broker.ends_at_once = True
    broker.drop()
    said: list[str] = []

    def asked() -> bool:
        try:
            runner.poll()
        except SourceUnavailable as error:
            said.append(str(error))
        return any("does another client use the id 'orch-i-sensors-u1'" in text for text in said)

    until(asked, "it is asked", within=20, show=lambda: (said, source.lag()))


@pytest.mark.parametrize(
    "content",
    [
        b"\x30\xff\xff\xff\xff\x7f",
        b"\x32\x02\x00\x09",
        b"\x36\x05\x00\x01t\x00\x01",
        b"\xf0\x00",
        b"\x30\x00",
        b"\x62\x00",
        b"\x90\x01\x00",
    ],
)
def test_whatever_a_broker_sends_ends_no_thread(
    broker: ScriptedBroker, runner: Runner, content: bytes
) -> None:
    """The connection is made anew, and what comes then is received."""
    runner.open()
    runner.connected()
    broker.send(content)
    broker.drop()
    came: list[Message] = []

    def come() -> bool:
        with suppress(SourceUnavailable):
            before = broker.connections
            came.extend(runner.poll())
            if broker.connections > before:
                broker.publish("t/a", b"one", 7)
        return bool(came)

    until(come, "a message comes", within=20)


def test_a_number_of_another_connection_is_not_acknowledged(
    broker: ScriptedBroker, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the broker is being told of a message it loses the session, and gives its number to
    another one: which is in no ledger yet."""
    source = runner.open()
    runner.connected()
    broker.publish("t/a", b"one", 7)
    [first] = runner.come(1)
    free, others = Journal.free, list[Message]()

    def freed(journal: Journal, *args: Any) -> None:
        monkeypatch.undo()
        free(journal, *args)
        broker.drop()
        until(lambda: not source.listening, "the connection is lost")
        runner.connected()
        broker.publish("t/a", b"two", 7)
        others.extend(runner.come(1))

    monkeypatch.setattr(Journal, "free", freed)
    source.acknowledge(told(first))
    [other] = others
    assert list(source.acknowledge(told(other))) == [other.id]
    until(lambda: broker.heard(PUBACK), "the broker is told", show=lambda: broker.said)
    assert broker.heard(PUBACK) == [7], "once, of the second message alone"


def test_what_could_not_be_written_down_comes_again(
    broker: ScriptedBroker, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when messages come: they are asked for again, in another connection."""

    def full(journal: Journal, entries: object) -> None:
        monkeypatch.undo()
        raise SourceUnavailable("the disk is full")

    runner.open()
    runner.connected()
    monkeypatch.setattr(Journal, "note", full)
    broker.publish("t/a", b"one", 7)
    with pytest.raises(SourceUnavailable, match="full"):
        runner.come(1)
    broker.present = True
    runner.connected()
    broker.publish("t/a", b"one", 7, dup=True)
    assert [one.body["body"] for one in runner.come(1)] == ["one"]
