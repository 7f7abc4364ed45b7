"""New messages in a Maildir.

A message lies in ``new`` until its run has succeeded; then it is moved to ``cur``, or deleted. So
the directory itself is what must not be lost, and a source holds nothing. A message keeps its name
for ever: that is the event's id, and its receipt.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from email import message_from_bytes
from pathlib import Path
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.queues import Delivery, Inbox, Message, Polled, QueueConnector, QueueSource
from connectors.streams import SourceContext, SourceRefused, SourceUnavailable
from connectors.times import SECOND
from orch_mailbox.settings import MailboxSettings, parse_settings

_SEEN = ":2,S"  # what the name of a message that was read ends with, in ``cur``
_HEADERS = ("from", "to", "subject", "date")


class MailboxConnector(QueueConnector):
    """What orch knows of the kind."""

    kind: ClassVar[str] = "mailbox"
    version: ClassVar[str] = "0.1.0"
    summary: ClassVar[str] = "new messages in a Maildir, a run for each"
    settings_model: ClassVar[type[pydantic.BaseModel]] = MailboxSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset({"event.*"})

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The path: another one is another mailbox. The other settings may change at any time."""
        return {"path": parse_settings(settings).path}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource:
        return MailboxSource(parse_settings(settings), inbox)


class MailboxSource(QueueSource):
    """One mailbox. Nothing here has to be remembered, so there is no lock and no state."""

    def __init__(self, settings: MailboxSettings, inbox: Inbox) -> None:
        self._settings = settings
        self._inbox = inbox
        self._new = Path(settings.path, "new")
        self._read = Path(settings.path, "cur")

    @property
    def interval(self) -> float:
        return self._settings.every / SECOND

    def poll(self, room: int, wait: float) -> Polled:
        try:
            names = sorted(name for name in os.listdir(self._new) if _is_message(name))
        except FileNotFoundError as error:
            raise SourceUnavailable(f"there is no mailbox at {self._settings.path}") from error
        except OSError as error:
            raise SourceRefused(f"{self._new}: {error.strerror}") from error
        known = self._inbox.known(names)
        waiting = [name for name in names if name not in known]
        found = [self._message(name) for name in waiting[:room]]
        return Polled(messages=[message for message in found if message is not None])

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return [delivery.id for delivery in deliveries if self._put_away(delivery.id)]

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _message(self, name: str) -> Message | None:
        try:
            with (self._new / name).open("rb") as file:
                mail = message_from_bytes(file.read(self._settings.max_text))
        except FileNotFoundError:
            return None  # somebody has read it in a mail program, just now
        except OSError as error:
            raise SourceRefused(f"{self._new / name}: {error.strerror}") from error
        payload = mail.get_payload(decode=True)
        text = payload if isinstance(payload, bytes) else b""  # parts are left to the job
        headers: dict[str, JSON] = {key: _plain(str(mail.get(key, ""))) for key in _HEADERS}
        body: dict[str, JSON] = {"id": name, **headers, "text": text.decode(errors="replace")}
        return Message(id=name, body=body, receipt=name)

    def _put_away(self, name: str) -> bool:
        """Whether no further try is needed. Done twice, it changes nothing."""
        if not _is_message(name):
            return True
        try:
            if self._settings.then == "delete":
                (self._new / name).unlink(missing_ok=True)
            else:
                (self._new / name).rename(self._read / f"{name}{_SEEN}")
        except FileNotFoundError:
            return True  # put away before, or by somebody else
        except OSError:
            return False  # the disk is full, or rights are missing: tried again soon
        return True


def _is_message(name: str) -> bool:
    # What stands in a name comes from whoever delivers mail, and becomes part of a path and an id.
    return name.isprintable() and "/" not in name and not name.startswith(".") and bool(name)


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode()
