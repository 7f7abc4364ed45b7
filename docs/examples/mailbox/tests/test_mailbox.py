"""The mailbox passes orch's conformance kit, and what is special about mail."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest
from orch_mailbox import MailboxConnector

from connectors.abc import JSON
from connectors.queues import Inbox, Message, QueueSource
from connectors.streams import SourceContext
from connectors.testing import Bad, QueueConformance, QueueHarness

_numbers = itertools.count(1)


def deliver(mailbox: Path, subject: str, text: str = "", name: str = "") -> str:
    """What a mail server does: write into tmp, then move to new."""
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "a@example.org", subject
    mail.set_content(text)
    name = name or f"1750000000.M{next(_numbers):06}.host"
    (mailbox / "tmp" / name).write_bytes(bytes(mail))
    (mailbox / "tmp" / name).rename(mailbox / "new" / name)
    return name


def maildir(place: Path) -> Path:
    """An empty mailbox."""
    for part in ("cur", "new", "tmp"):
        (place / part).mkdir(parents=True)
    return place


class MailboxHarness(QueueHarness):
    """What the kit has to know of a mailbox."""

    connector = MailboxConnector()

    def __init__(self, place: Path, then: str) -> None:
        self.mailbox = maildir(place)
        self.then = then

    def settings(self) -> Mapping[str, JSON]:
        return {"path": str(self.mailbox), "every": "100ms", "then": self.then}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"path": "Maildir"}, "path"),
            ({"every": "1ms"}, "every"),
            ({"every": 5}, "every"),
            ({"then": "burn"}, "then"),
            ({"max_text": 0}, "max_text"),
        ]

    def put(self, events: Sequence[str]) -> None:
        for event in events:
            deliver(self.mailbox, event)

    def text(self, message: Message) -> str:
        return str(message.body["subject"])

    def left(self) -> int:
        return len(list((self.mailbox / "new").iterdir()))

    def unreachable(self) -> Mapping[str, JSON]:
        return {"path": str(self.mailbox / "absent")}


class TestMailbox(QueueConformance):
    """The whole suite, for both ends of a message."""

    @pytest.fixture(params=["keep", "delete"])
    def harness(self, tmp_path: Path, request: pytest.FixtureRequest) -> MailboxHarness:
        return MailboxHarness(tmp_path / "Maildir", request.param)


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    """An empty mailbox."""
    return maildir(tmp_path / "Maildir")


def opened(mailbox: Path, **settings: JSON) -> QueueSource:
    """A source, as orch opens it."""
    context = SourceContext(
        instance="i",
        trigger="mail",
        trigger_uid="u1",
        secrets={},
        data_dir=mailbox.parent / "data",
        stop=threading.Event(),
    )
    inbox = Inbox(cursor=None, known=lambda _: set())
    return MailboxConnector().open({"path": str(mailbox), **settings}, context, inbox)


def test_what_a_job_gets(mailbox: Path) -> None:
    """Headers and the text; a long one is cut."""
    name = deliver(mailbox, "An order", "seven of them")
    (message,) = opened(mailbox).poll(10, 0).messages
    assert message.body["id"] == name
    assert message.body["from"] == "a@example.org"
    assert message.body["subject"] == "An order"
    assert message.body["text"] == "seven of them\n"
    deliver(mailbox, "Long", "x" * 100_000)
    long = opened(mailbox, max_text=1000).poll(10, 0).messages[1]
    assert 500 < len(str(long.body["text"])) < 1000


def test_a_message_that_was_read_is_marked(mailbox: Path) -> None:
    """As a mail program would; or it is gone."""
    name = deliver(mailbox, "One")
    harness = opened(mailbox)
    (message,) = harness.poll(10, 0).messages
    (mailbox / "new" / message.id).rename(mailbox / "cur" / f"{name}:2,S")
    assert list(harness.poll(10, 0).messages) == []


def test_hostile_mail_is_mail(mailbox: Path) -> None:
    """Bytes that are no mail, no text, and names that are no names."""
    (mailbox / "new" / "1.bytes").write_bytes(bytes(range(256)) * 10)
    (mailbox / "new" / "2.header").write_bytes(b"Subject: \xff\xfe\r\n =?utf-8?q?\r\n\r\n\xff")
    (mailbox / "new" / "3.empty").touch()
    (mailbox / "new" / "4.\n").touch()
    (mailbox / "new" / ".hidden").touch()
    found = opened(mailbox).poll(10, 0).messages
    assert [message.id for message in found] == ["1.bytes", "2.header", "3.empty"]
