"""Types that the settings of AWS's connectors share, checked with a remedy."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from connectors.fields import error
from connectors.validation import shown

_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+", re.ASCII)


def _region(text: str) -> str:
    if _REGION.fullmatch(text):
        return text
    raise error(f"{shown(text)} is not a region", "write one such as eu-central-1")


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
        parts = urlsplit("")
    if not good or not text.isprintable() or " " in text:
        raise error(f"{shown(text)} is not an address", "write http://HOST:PORT or https://HOST")
    if parts.username or parts.password:
        raise error(
            "the address holds a user or password",
            "leave it out: credentials are found as boto3 finds them",
        )
    if parts.query or parts.fragment:
        raise error(f"{shown(text)} has more than an address", "write http://HOST:PORT")
    return text.rstrip("/")


Region = Annotated[str, AfterValidator(_region)]
"""A region's name, such as ``eu-central-1``."""
Endpoint = Annotated[str, AfterValidator(_endpoint)]
"""Where a service is reached, where it is not AWS's own: ``http(s)://host:port``."""
