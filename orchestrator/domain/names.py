"""Names that tie a firing to its Bacalhau jobs.

The cluster knows a job by its name alone, for ever; so a name is derived, never invented, and two
firings never share one: it ends in 80 bits of SHA-256 over the exact key, whatever the readable
part had to drop.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache

MAX_JOB_NAME = 120
_HASH_CHARS = 20  # 20 hexadecimal digits are 80 bits
_NAME = re.compile(
    r"orch-(?P<instance>[a-z0-9]+)-(?P<trigger>[a-z0-9-]+?)-(?P<uid>[a-z0-9]{10})"
    r"-(?P<firing>[a-z0-9-]*[0-9a-f]{20})-a(?P<attempt>[0-9]+)"
)

LABEL_INSTANCE = "orch.instance"
LABEL_RUN = "orch.run"
LABEL_ATTEMPT = "orch.attempt"
LABEL_SPEC = "orch.spec"


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().lower().rstrip("=")


def new_instance() -> str:
    """A store's instance name: 8 random characters of base32 (40 bits), given once."""
    return _base32(secrets.token_bytes(5))


def new_trigger_uid() -> str:
    """A trigger's uid: 10 random characters of base32 (50 bits), given once."""
    return _base32(secrets.token_bytes(7))[:10]


def run_id(instance: str, trigger_uid: str, key: str) -> str:
    """Derive the run's id; the same firing has the same id for ever (96 bits)."""
    return "r" + hashlib.sha256(f"{instance}\0{trigger_uid}\0{key}".encode()).hexdigest()[:24]


def _slug(text: str, limit: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:limit].strip("-")


@lru_cache(maxsize=1024)
def _trigger_slug(name: str) -> str:
    """The trigger's part of a job's name: no later word of it can be taken for a uid."""
    return re.sub(r"-(?=[a-z0-9]{10}(?:-|$))", "", _slug(name, 32)) or "t"


def job_name(*, instance: str, trigger: str, trigger_uid: str, key: str, attempt: int) -> str:
    """Name an attempt's job: at most 120 characters of `[a-z0-9-]`."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:_HASH_CHARS]
    head = f"orch-{instance}-{_trigger_slug(trigger)}-{trigger_uid}-"
    tail = f"{digest}-a{attempt}"
    readable = _slug(key, MAX_JOB_NAME - len(head) - len(tail) - 1)
    return f"{head}{readable}-{tail}" if readable else head + tail


@dataclass(frozen=True, kw_only=True)
class JobNameParts:
    """What a job's name says about where it came from."""

    instance: str
    trigger_uid: str
    attempt: int


def parse_job_name(name: str) -> JobNameParts | None:
    """Read a name made by `job_name`; None for any other."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return JobNameParts(
        instance=match["instance"], trigger_uid=match["uid"], attempt=int(match["attempt"])
    )


def labels(*, instance: str, run: str, attempt: int) -> dict[str, str]:
    """The labels by which an attempt's job is recognised as ours."""
    return {LABEL_INSTANCE: instance, LABEL_RUN: run, LABEL_ATTEMPT: str(attempt)}
