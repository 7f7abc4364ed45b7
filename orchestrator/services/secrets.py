"""Secrets by name, read when an attempt is rendered and kept nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_LARGEST = 64 * 1024
PREFIX = "ORCH_SECRET_"


class Secrets(Mapping[str, str]):
    """`secret.NAME`: the variable `ORCH_SECRET_NAME`, or the file NAME in a directory.

    A file's last newline is not part of the secret. What is there is not enumerable.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._environ = os.environ if environ is None else environ

    def __getitem__(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        value = self._environ.get(PREFIX + name)
        if value is not None:
            return value
        try:
            with (self._directory / name).open(encoding="utf-8") as file:
                return file.read(_LARGEST).removesuffix("\n")
        except (OSError, UnicodeDecodeError):
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "Secrets(…)"
