"""Names of images, as `docker run` takes them: `registry.example:5000/team/report:1@sha256:…`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.images import ImageError

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
_REFERENCE = re.compile(
    rf"(?P<repository>(?:{_HOST}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_LONGEST = 255
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\b", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The name of an image. `tag` and `digest` are empty where it has none."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def registry(self) -> str:
        """The host of the registry; empty where it is Docker's own."""
        first, slash, _ = self.repository.partition("/")
        is_host = "." in first or ":" in first or first == "localhost"
        return first if slash and is_host else ""

    @property
    def has_owner(self) -> bool:
        """Whether it can be somebody's: `report` alone is an official image of Docker's."""
        return "/" in self.repository


def parse(text: str) -> Reference:
    """Read the name of an image. Raises ImageError without a place."""
    found = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST + 72 else None
    if found is None or len(found["repository"]) > _LONGEST:
        remedy = "write it as registry.example.com/team/report, in small letters"
        raise ImageError(f"{text[:80]!r} is not the name of an image: {remedy}")
    return Reference(
        repository=found["repository"], tag=found["tag"] or "", digest=found["digest"] or ""
    )
