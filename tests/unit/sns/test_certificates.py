"""Certificates: which are trusted, how often they are fetched, and what a crowd may cost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from connectors.outbound import NoAnswer
from connectors.sns import certificates
from connectors.sns.certificates import Certificates, NotNow, NotTrusted
from connectors.sns.topics import Topic, parse
from tests.support.sns import NOW, ORIGIN, PATH, TOPIC, Signer, elliptic_pem

AT = NOW * 10**6
DAY = 86_400 * 10**6
URL = ORIGIN + PATH


@pytest.fixture(scope="module")
def signer() -> Signer:
    """SNS itself."""
    return Signer()


def topic(endpoint: str | None = None) -> Topic:
    """The one of the tests."""
    found = parse(TOPIC, endpoint)
    assert found is not None
    return found


def other(number: int) -> str:
    """An address that might be one of a certificate."""
    return f"{ORIGIN}/SimpleNotificationService-{number}.pem"


class Server:
    """What is asked for, and what is said."""

    def __init__(self, answer: bytes | Exception | Callable[[str], bytes]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.now = 1000.0

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(url) if callable(self.answer) else self.answer

    def certificates(self) -> Certificates:
        """That ask here, by this clock."""
        return Certificates(self, lambda: self.now)


def test_a_certificate_is_fetched_once(signer: Signer):
    """And its key is the one that signs."""
    server = Server(signer.pem)
    known = server.certificates()
    keys = {known.key(topic(), URL, AT).public_numbers() for _ in range(3)}
    assert keys == {signer.key.public_key().public_numbers()}
    assert server.asked == [URL]


def test_nothing_is_fetched_from_another_address():
    """Whatever might be there."""
    server = Server(b"")
    for url in ("http://127.0.0.1" + PATH, "https://sns.evil.com" + PATH, ORIGIN + "/x", ""):
        with pytest.raises(NotTrusted):
            server.certificates().key(topic(), url, AT)
    assert not server.asked


@pytest.mark.parametrize(("at", "valid"), [(0, True), (-2 * DAY, False), (31 * DAY, False)])
def test_a_certificate_counts_while_it_is_valid(signer: Signer, at: int, valid: bool):
    """Also one that is known already; one that has ended is not fetched again and again."""
    server = Server(signer.pem)
    known = server.certificates()
    known.key(topic(), URL, AT)
    for _ in range(3):
        if valid:
            known.key(topic(), URL, AT + at)
        else:
            with pytest.raises(NotTrusted, match="not valid now"):
                known.key(topic(), URL, AT + at)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("names", "alternative", "trusted"),
    [
        (("sns.amazonaws.com",), None, True),
        (("sns.amazonaws.com",), (), True),
        (("sns-signing.eu-central-1.amazonaws.com",), None, True),
        (("x.example.com", "sns.eu-central-1.amazonaws.com"), None, True),
        (("sns-signing.eu-west-1.amazonaws.com",), None, False),
        (("s3.amazonaws.com",), None, False),
        (("*.amazonaws.com",), None, False),
        (("evil.com",), (), False),
        (("sns.amazonaws.com",), ("evil.com",), False),
        (("evil.com",), ("sns.amazonaws.com",), True),
        (("sns.amazonaws.com.evil.com",), (), False),
    ],
)
def test_the_certificate_has_to_be_one_of_sns(
    names: tuple[str, ...], alternative: tuple[str, ...] | None, trusted: bool
):
    """By its names, of which the subject is one only where there are no others; unless the
    service is one that the settings name."""
    server = Server(Signer(names, alternative=alternative).pem)
    named = "http://127.0.0.1:4566"
    assert server.certificates().key(topic(named), named + PATH, AT)
    if trusted:
        assert server.certificates().key(topic(), URL, AT)
    else:
        with pytest.raises(NotTrusted, match="not one of SNS"):
            server.certificates().key(topic(), URL, AT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\xff" * 100,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        elliptic_pem(),
        Signer(bits=1024).pem,
    ],
)
def test_what_is_no_certificate_to_sign_with_is_remembered(content: bytes):
    """Not asked for again for five minutes."""
    server = Server(content)
    known = server.certificates()
    for _ in range(3):
        with pytest.raises(NotTrusted):
            known.key(topic(), URL, AT)
    assert len(server.asked) == 1
    server.now += 301
    with pytest.raises(NotTrusted):
        known.key(topic(), URL, AT)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotTrusted),
        (403, NotTrusted),
        (302, NotTrusted),
        (200, NotTrusted),
        (429, NotNow),
        (500, NotNow),
        (503, NotNow),
        (None, NotNow),
    ],
)
def test_answers_that_bring_none(status: int | None, kind: type[Exception], signer: Signer):
    """Where nobody answers it is tried again soon; a redirect and too much are never right."""
    server = Server(NoAnswer("no", status=status))
    known = server.certificates()
    for _ in range(2):
        with pytest.raises(kind):
            known.key(topic(), URL, AT)
    assert len(server.asked) == 1
    server.answer = signer.pem
    server.now += 301 if kind is NotTrusted else 6
    assert known.key(topic(), URL, AT)


def test_a_crowd_of_names_costs_few_fetches(signer: Signer):
    """Sixty in a minute; what is known goes on, and the next minute is a new one."""
    server = Server(lambda url: signer.pem if url == URL else b"")
    known = server.certificates()
    known.key(topic(), URL, AT)
    for number in range(2000):
        with pytest.raises((NotTrusted, NotNow)):
            known.key(topic(), other(number), AT)
        known.key(topic(), URL, AT)
    assert len(server.asked) == 60
    server.now += 61
    with pytest.raises(NotTrusted):
        known.key(topic(), other(5000), AT)


def test_what_is_remembered_is_bounded(signer: Signer, monkeypatch: pytest.MonkeyPatch):
    """Both what is trusted and what is not."""
    monkeypatch.setattr(certificates, "_KEPT", 2)
    monkeypatch.setattr(certificates, "_REFUSED_KEPT", 2)
    server = Server(signer.pem)
    known = server.certificates()
    for number in (1, 2, 3, 3, 2, 1):
        known.key(topic(), other(number), AT)
    assert len(server.asked) == 4
    server.answer = b""
    for number in (11, 12, 13, 13, 12, 11):
        with pytest.raises(NotTrusted):
            known.key(topic(), other(number), AT)
    assert len(server.asked) == 8


def test_nobody_waits_for_the_certificate_of_another(signer: Signer):
    """Two that hang hold up no third; those who want the same one wait for it together."""
    begun, go = threading.Semaphore(0), threading.Event()

    def slow(url: str) -> bytes:
        begun.release()
        assert go.wait(30)
        return signer.pem

    server = Server(slow)
    known = server.certificates()
    keys: list[object] = []

    def ask(url: str) -> None:
        keys.append(known.key(topic(), url, AT))

    threads = [threading.Thread(target=ask, args=(other(n),)) for n in (1, 2, 1, 2, 2)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert begun.acquire(timeout=30)
    with pytest.raises(NotNow, match="too many"):
        known.key(topic(), other(3), AT)
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(keys) == 5
    assert sorted(server.asked) == [other(1), other(2)]
