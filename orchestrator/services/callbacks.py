"""Callbacks: what the outbox holds is told to those who asked, at least once."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_INFO = b"orch callbacks v1"


def callback_key(key: bytes) -> bytes:
    """The key that signs callbacks, derived from the store's key file: 32 bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(key)
