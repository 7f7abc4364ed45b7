"""A setting that says where objects are kept, as connectors have it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from connectors.storage import address


def _address(text: str) -> str:
    address.parse(text)
    return text


Storage: TypeAlias = Annotated[str, AfterValidator(_address)]
"""An address of :mod:`connectors.storage.address`, checked and kept as it was written."""
