"""Where a broker of MQTT is: ``mqtt://host:port``, or ``mqtts://host:port`` for TLS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from connectors.fields import error
from connectors.validation import shown

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}", re.ASCII)
_REMEDY = "write mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS"


@dataclass(frozen=True, kw_only=True)
class Address:
    """A broker."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse(text: str) -> Address:
    """Read an address. Raises :class:`connectors.abc.SettingsError`."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as reason:
        raise error(f"{shown(text)} is no address of a broker", _REMEDY) from reason
    if "@" in parts.netloc:
        remedy = "leave it out: users and passwords have settings of their own"
        raise error("the address holds a user or password", remedy)
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or port == 0:
        raise error(f"{shown(text)} is no address of a broker", _REMEDY)
    if parts.path.strip("/") or parts.query or parts.fragment or not text.isprintable():
        raise error(f"{shown(text)} has more than an address", _REMEDY)
    tls = parts.scheme == "mqtts"
    return Address(host=host, port=port or _PORTS[parts.scheme], tls=tls)


def _checked(text: str) -> str:
    parse(text)
    return text


BrokerAddress = Annotated[str, AfterValidator(_checked)]
"""An address as it was written, checked."""
