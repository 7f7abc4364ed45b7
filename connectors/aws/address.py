"""Which queue is meant: its name, its ARN or its URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors.fields import error
from connectors.validation import shown

_NAME = re.compile(r"(?=.{1,80}\Z)[A-Za-z0-9_-]+(\.fifo)?", re.ASCII)
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:sqs:([a-z0-9-]{1,40}):(\d{12}):([A-Za-z0-9_.-]{1,80})", re.ASCII)
_HOSTS = tuple(
    re.compile(host, re.ASCII)
    for host in (
        r"sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)",
        r"([a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?",
        r"vpce-[a-z0-9-]+\.sqs\.([a-z0-9-]+)\.vpce\.amazonaws\.com(?:\.cn)?",
    )
)
_FORMS = "write its name, arn:aws:sqs:REGION:ACCOUNT:NAME, or its URL"


@dataclass(frozen=True, kw_only=True)
class QueueAddress:
    """What is known about a queue before anybody has asked for it."""

    name: str
    account: str = ""
    """Whose it is; "": the account of the credentials."""
    region: str | None = None
    endpoint: str | None = None
    """Where it is, if not at AWS's own address of its region."""
    url: str | None = None
    """Where it was given as one."""

    @property
    def fifo(self) -> bool:
        """Whether it keeps an order within groups: those end in ``.fifo``, and no others."""
        return self.name.endswith(".fifo")


def parse_queue(text: str) -> QueueAddress:
    """The queue that a text names. Raises :class:`connectors.abc.SettingsError`, whose problem has
    no path."""
    if "://" in text:
        return _of_url(text)
    if arn := _ARN.fullmatch(text):
        region, account, name = arn.groups()
        return QueueAddress(name=_checked(name, text), account=account, region=region)
    return QueueAddress(name=_checked(text, text))


def _checked(name: str, text: str) -> str:
    if _NAME.fullmatch(name):
        return name
    raise error(f"{shown(text)} names no queue", _FORMS)


def _of_url(text: str) -> QueueAddress:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise error(f"{shown(text)} is not a URL", _FORMS) from None
    if parts.username or parts.password:
        raise error("the URL holds a user or password", "remove what stands before the @")
    plain = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not plain or parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise error(f"{shown(text)} is not the URL of a queue", _FORMS)
    *before, name = parts.path.strip("/").split("/")
    account = before[-1] if before and _ACCOUNT.fullmatch(before[-1]) else ""
    found = next((m[1] for host in _HOSTS if (m := host.fullmatch(parts.hostname or ""))), None)
    regional = found is not None and not (parts.hostname or "").startswith("vpce-")
    return QueueAddress(
        name=_checked(name, text),
        account=account,
        region=found,
        endpoint=None if regional else f"{parts.scheme}://{parts.netloc}",
        url=text,
    )
