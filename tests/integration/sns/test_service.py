"""A service that is named in the settings, over real HTTP: right, slow, large and elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from connectors import outbound
from connectors.outbound import NoAnswer
from connectors.push import PushRefused
from connectors.sns import certificates
from connectors.sns.receiver import SnsReceiver
from connectors.sns.settings import parse_settings
from connectors.streams import SourceContext
from tests.support.sns import PATH, TOKEN, TOPIC, posted
from tests.support.snsservice import Service, say


@pytest.fixture
def service() -> Iterator[Service]:
    """One for each test."""
    made = Service()
    yield made
    made.close()


@pytest.fixture
def receiver(service: Service, tmp_path: Path) -> SnsReceiver:
    """A trigger whose settings name the service."""
    context = SourceContext(
        instance="i",
        trigger="orders",
        trigger_uid="u1",
        secrets={},
        data_dir=tmp_path,
        stop=threading.Event(),
    )
    settings = parse_settings({"topics": [TOPIC], "endpoint": service.origin})
    return SnsReceiver(settings, context)


def refused(receiver: SnsReceiver, service: Service) -> int:
    """The status with which a notification that is right is refused."""
    with pytest.raises(PushRefused) as caught:
        receiver.receive(posted(service.signer.envelope(origin=service.origin)))
    return caught.value.status


def test_notification_and_confirmation(service: Service, receiver: SnsReceiver):
    """The certificate is fetched once; a confirmation is asked for where it belongs."""
    for _ in range(2):
        envelope = service.signer.envelope("2", origin=service.origin)
        assert receiver.receive(posted(envelope)).messages
    taken = receiver.receive(posted(service.signer.confirmation(origin=service.origin)))
    assert not taken.messages
    arn = TOPIC.replace(":", "%3A")
    confirm = f"/?Action=ConfirmSubscription&TopicArn={arn}&Token={TOKEN}"
    assert service.asked == [PATH, confirm]


def test_aws_is_not_asked_where_another_service_is_named(service: Service, receiver: SnsReceiver):
    """Its addresses are then as wrong as any other."""
    with pytest.raises(PushRefused) as caught:
        receiver.receive(posted(service.signer.envelope()))
    assert caught.value.status == 403
    assert not service.asked


def test_a_redirect_is_not_followed(service: Service, receiver: SnsReceiver):
    """Not even to where the certificate is."""
    other = Service()
    try:
        service.answer = lambda handler: say(handler, 302, b"", Location=other.origin + PATH)
        assert refused(receiver, service) == 403
        assert not other.asked
    finally:
        other.close()


def test_a_large_answer_is_not_read(service: Service, receiver: SnsReceiver):
    """A certificate has two kilobytes."""
    padding = b"\n" * certificates.MAX_BYTES
    service.answer = lambda handler: say(handler, 200, service.signer.pem + padding)
    assert refused(receiver, service) == 403


def test_a_slow_service_holds_nobody_up(
    service: Service, receiver: SnsReceiver, monkeypatch: pytest.MonkeyPatch
):
    """A byte now and then keeps a socket's own timeout from ever coming."""
    monkeypatch.setattr(certificates, "_FETCH_WITHIN", 0.5)
    service.answer = service.drip
    assert refused(receiver, service) == 503


def test_an_answer_that_breaks_off(service: Service, receiver: SnsReceiver):
    """Tried again by SNS."""

    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(service.signer.pem[:100])

    service.answer = broken
    assert refused(receiver, service) == 503


def test_nothing_private_is_asked_unless_it_is_named(service: Service):
    """Whatever a name resolves to."""
    for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "10.0.0.1"):
        url = f"http://{host}:{service.server.server_address[1]}{PATH}"
        with pytest.raises(NoAnswer) as caught:
            outbound.get(url, limit=100, timeout=1)
        assert caught.value.private
    assert not service.asked


def test_an_address_that_is_none_is_no_answer():
    """Names that cannot be looked up, ports that cannot be, and an empty host."""
    for url in ("http://", "http://a:99999/", "http://" + "a" * 300, "http://\ud800/", "x"):
        with pytest.raises(NoAnswer):
            outbound.get(url, limit=100, timeout=1)
