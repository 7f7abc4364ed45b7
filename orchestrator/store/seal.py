"""Sealing: an attempt's bytes are compressed and encrypted at rest.

The key is a file of mode 0600 in the data directory (`ORCH_KEY_FILE`), never part of a backup:
who has the database alone reads no rendered spec, and with it no secret of a run.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orchestrator.store.errors import StoreError

KNOWN_KEY = "key.check"  # what the store remembers of the key that it is written with
_KEY_BYTES = 32
_NONCE_BYTES = 12


class Unsealable(StoreError):
    """Bytes that this key does not open."""


class Seal:
    """AES-256-GCM over zlib."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, data: bytes) -> bytes:
        """Compress and encrypt."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, zlib.compress(data, 1), None)

    def open(self, sealed: bytes) -> bytes:
        """The data again. Raises Unsealable for another key or damaged bytes."""
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError) as error:
            raise Unsealable(
                "the key file does not fit the store: bring back the one it was written with"
            ) from error
        return zlib.decompress(plain)


def load_key(path: Path) -> bytes:
    """Read the key file, or make one that only its owner can read. Raises StoreError."""
    if path.exists():
        return _read_key(path)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        # The name appears with the whole key behind it, or not at all.
        os.link(draft, path)
    except FileExistsError:
        return _read_key(path)
    except OSError as error:
        raise StoreError(f"the key file {path} cannot be made: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return key


def key_check(key: bytes) -> str:
    """What tells keys apart, and of which nobody can make the key."""
    return hmac.new(key, b"orch: which key is it", hashlib.sha256).hexdigest()[:16]


def _read_key(path: Path) -> bytes:
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise StoreError(f"the key file {path} cannot be read: {error.strerror}") from error
    if len(key) != _KEY_BYTES:
        raise StoreError(
            f"{path} is not a key of {_KEY_BYTES} bytes: bring back the file that this store was "
            "written with"
        )
    if mode & 0o077:
        raise StoreError(f"{path} can be read by others: chmod 600 {path}")
    return key
