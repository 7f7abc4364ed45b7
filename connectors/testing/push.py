"""The suite for connectors to which others bring their events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.push import PushRefused, PushRequest, Receiver, Taken
from connectors.queues import Inbox
from connectors.testing.checks import (
    check_message,
    check_payloads,
    check_values,
    is_json,
    one_object,
)
from connectors.testing.harness import PushHarness
from connectors.testing.runners import new_context
from connectors.testing.settings import ConnectorConformance
from connectors.testing.streams import numbered
from connectors.testing.watching import Threads, no_io

_REFUSALS = frozenset((*range(400, 500), 503))
_GARBAGE: tuple[bytes, ...] = (
    *(b"", b"\0", b"{", b"null", b"[]", b"{}", b'"text"', b"1e999", b"NaN", b"\xff\xfe\xfd"),
    *(b"[" * 10_000, b'{"a":' * 5_000, b"9" * 20_000, b"a=b&" * 5_000, b"<xml/>"),
    b'{"Type": "Notification", "id": "\\ud800", "x": "\\u0000"}',
)
_VALUES = ("", "\0", "a\r\nb: c", "=", ",,,,", "t=1,v1=0", "x" * 20_000, "ключ", "-1", "9" * 400)
_FAR = 4_102_444_800_000_000  # 2100, microseconds
_SENDERS = 4


class PushConformance(ConnectorConformance):
    """For connectors with a receiver."""

    @pytest.fixture
    def receiver(self, harness: PushHarness, tmp_path: Path) -> Iterator[Receiver]:
        """The receiver of the harness's settings."""
        opened = self._open(harness, tmp_path)
        yield opened
        opened.close()
        harness.close()

    def _open(self, harness: PushHarness, tmp_path: Path) -> Receiver:
        context = new_context(harness, tmp_path / "kit")
        opened = harness.connector.receiver(harness.settings(), context)
        assert opened is not None, "these settings are to take requests"
        return opened

    def test_opening_does_no_io(self, harness: PushHarness, tmp_path: Path) -> None:
        """A receiver for each trigger is there from the start of the orchestrator on."""
        self._open(harness, tmp_path).close()  # modules that are loaded on use
        context = new_context(harness, tmp_path / "kit")
        with no_io():
            opened = self._open(harness, tmp_path)
            inbox = Inbox(cursor=None, known=set)
            source = harness.connector.open(harness.settings(), context, inbox)
            assert opened.max_body > 0
            assert opened.remember_for >= 0
            one_object(opened.payloads, opened.payloads)
        check_payloads(opened.payloads)
        if source is not None:
            source.close()
        opened.close()
        opened.close()
        harness.close()

    def test_an_event_is_taken(self, harness: PushHarness, receiver: Receiver) -> None:
        """Each request brings its event, with an id of its own."""
        ids: set[str] = set()
        for event in numbered(5):
            taken = receiver.receive(harness.request(event))
            assert [harness.text(message) for message in taken.messages] == [event]
            ids |= {message.id for message in taken.messages}
            _proper(taken)
            described = receiver.describe(taken.messages)
            check_values(harness.connector, described.values)
            is_json(list(described.inputs))
        assert len(ids) == 5

    def test_a_repetition_is_known(self, harness: PushHarness, receiver: Receiver) -> None:
        """A request that comes twice brings the event of the first."""
        (event,) = numbered(1)
        request = harness.request(event)
        ids = {m.id for _ in range(3) for m in receiver.receive(request).messages}
        assert (len(ids) == 1) == harness.knows_repeats

    def test_what_is_forged_is_refused(self, harness: PushHarness, receiver: Receiver) -> None:
        """Whatever is wrong with it; and the sender learns nothing that helps."""
        for what, request in harness.forged().items():
            try:
                taken = receiver.receive(request)
            except PushRefused as refused:
                _tells_little(refused, harness, what)
            else:
                pytest.fail(f"{what}: taken as {taken}")

    def test_nothing_is_taken_without_secrets(self, harness: PushHarness, tmp_path: Path) -> None:
        """A secret that is not there is no empty secret."""
        if not harness.secrets:
            pytest.skip("the harness's settings name no secrets")
        context = replace(new_context(harness, tmp_path / "kit"), secrets={})
        opened = harness.connector.receiver(harness.settings(), context)
        assert opened is not None
        with pytest.raises(PushRefused) as caught:
            opened.receive(harness.request("event"))
        assert caught.value.status == 503, "it is not the sender's fault"
        opened.close()
        harness.close()

    def test_hostile_requests_do_no_harm(self, harness: PushHarness, receiver: Receiver) -> None:
        """Bodies, headers and their absence: refused or taken, and nothing else is raised."""
        good = harness.request("event")
        requests = [replace(good, body=body) for body in (*_GARBAGE, good.body[:-1])]
        requests += [replace(good, body=good.body + b" ", headers={})]
        requests += [replace(good, headers={}, query={"a": "\0"})]
        requests += [replace(good, at=at) for at in (0, _FAR)]
        for name in good.headers:
            rest = {key: value for key, value in good.headers.items() if key != name}
            requests.append(replace(good, headers=rest))
            requests += [replace(good, headers={**rest, name: value}) for value in _VALUES]
        requests += [
            replace(good, headers={**good.headers, "content-type": kind}, body=body)
            for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain", "")
            for body in _GARBAGE
        ]
        for request in requests:
            self._answered(harness, receiver, request)
        receiver.receive(harness.request("the next event"))

    def test_a_body_that_is_too_long_is_refused(
        self, harness: PushHarness, receiver: Receiver
    ) -> None:
        """Whoever hands requests over refuses it before; the receiver does not rely on it."""
        request = replace(harness.request("event"), body=b"x" * (receiver.max_body + 1))
        with pytest.raises(PushRefused):
            receiver.receive(request)

    def test_many_at_once(self, harness: PushHarness, receiver: Receiver) -> None:
        """Several threads use it."""
        events = numbered(40)
        requests = [harness.request(event) for event in events]
        found: list[str] = []
        failures: list[Exception] = []

        def send(mine: list[PushRequest]) -> None:
            try:
                for request in mine:
                    found.extend(harness.text(m) for m in receiver.receive(request).messages)
            except Exception as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        senders = [
            threading.Thread(target=send, args=(requests[n::_SENDERS],)) for n in range(_SENDERS)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert not failures, failures
        assert sorted(found) == events

    def test_nothing_is_left_of_a_receiver(self, harness: PushHarness, tmp_path: Path) -> None:
        """No thread goes on once it is closed."""
        threads = Threads(harness.shared_threads)
        opened = self._open(harness, tmp_path)
        opened.receive(harness.request("event"))
        opened.close()
        threads.gone(harness.lingers)
        harness.close()

    def _answered(self, harness: PushHarness, receiver: Receiver, request: PushRequest) -> None:
        try:
            _proper(receiver.receive(request))
        except PushRefused as refused:
            _tells_little(refused, harness, str(request)[:200])


def _proper(taken: Taken) -> None:
    assert 200 <= taken.status < 300, f"{taken.status} is not the status of what was taken"
    is_json(taken.answer)
    for message in taken.messages:
        check_message(message)


def _tells_little(refused: PushRefused, harness: PushHarness, what: str) -> None:
    assert refused.status in _REFUSALS, f"{what}: {refused.status} is no refusal"
    assert refused.reason.strip(), f"{what}: nobody says why"
    assert refused.reason.isprintable(), f"{what}: {refused.reason!r}"
    for secret in harness.secrets.values():
        assert secret not in refused.reason, f"{what}: a secret is shown"
