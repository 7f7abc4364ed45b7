"""Objects as they are found, and the events that they become.

An event is for one content of one key: its id is made of key and etag, so that a listing and a
notification name it alike. A version that has the etag of an earlier one is no new event.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.abc import JSON
from connectors.queues import MAX_ID, Message
from connectors.s3.settings import S3Settings
from connectors.times import DAY, HORIZON, MINUTE, key

DIRECTORY = "/orch/objects"
"""Below it lie the objects of a run, each in a directory that is called like its line's number."""
MARGIN = MINUTE
"""What two readings of a service's clock, and the order in which writes become visible, may be
apart; microseconds."""
REMEMBER = 3 * DAY
"""How long an id is known beyond the time in which a listing may see its object again: so far apart
may the clocks of the service and of the orchestrator be. Microseconds."""

_ETAG = re.compile(r"[0-9A-Za-z-]{1,100}", re.ASCII)
_UNNAMED = ("", ".", "..")


@dataclass(frozen=True, slots=True)
class Found:
    """One content of one key."""

    key: str
    etag: str
    """Without quotes."""
    size: int
    """Bytes."""
    modified: int
    """LastModified, or when a notification says that it was written; microseconds since 1970."""
    version: str = ""
    """Its version id, where that is known; "" in a bucket without versioning."""

    @property
    def id(self) -> str:
        """The id of its event."""
        text = f"{self.etag} {self.key}"
        if _ETAG.fullmatch(self.etag) and len(text) <= MAX_ID and text.isprintable():
            return text
        return f"sha256:{self.digest}"

    @property
    def digest(self) -> str:
        """The same, always short."""
        exact = f"{len(self.etag)} {self.etag} {self.key}".encode(errors="surrogatepass")
        return hashlib.sha256(exact).hexdigest()

    @property
    def is_folder(self) -> bool:
        """Whether it is what consoles make where people want to see a folder."""
        return self.key.endswith("/") and self.size == 0


def message(found: Found, settings: S3Settings, now: int, receipt: str = "") -> Message:
    """The event of an object; `now` is the orchestrator's clock, microseconds since 1970."""
    modified = min(max(0, found.modified), HORIZON - 1)
    seen_until = modified + settings.look_back + settings.settle + 2 * MARGIN
    return Message(
        id=found.id,
        body={
            "bucket": settings.bucket,
            "key": found.key,
            "size": found.size,
            "etag": found.etag,
            "version": found.version,
            "modified": key(modified),
        },
        receipt=receipt,
        # One that no node can fetch would keep the others of its run from running.
        group=found.digest if settings.input == "source" and not fetchable(found.key) else "",
        at=modified,
        weight=found.size,
        expires=max(seen_until, now) + REMEMBER,
    )


def fetchable(name: str) -> bool:
    """Whether a node can put the object with this key into a directory: it takes a star at the
    end for a prefix, and the last part for the name of a file."""
    last = name.rpartition("/")[2]
    return not name.endswith("*") and last not in _UNNAMED and "\0" not in name


def values(body: Mapping[str, JSON], settings: S3Settings) -> Mapping[str, JSON]:
    """What ``${{ object.… }}`` names in the run of a single object, beyond those of `shared`."""
    single = {name: body.get(name, "") for name in ("key", "size", "etag", "version", "modified")}
    if settings.input == "source":
        last = str(body.get("key", "")).rpartition("/")[2]
        single["path"] = f"{DIRECTORY}/0/{last}"
    return single


def shared(settings: S3Settings) -> Mapping[str, JSON]:
    """What ``${{ object.… }}`` names in every run."""
    return {
        "bucket": settings.bucket,
        "region": settings.region or "",
        "endpoint": settings.endpoint or "",
    }


def sources(
    bodies: Sequence[Mapping[str, JSON]], settings: S3Settings
) -> Sequence[Mapping[str, JSON]]:
    """The Bacalhau input sources of objects, in a directory each, because a node names a file by
    the last part of its key alone."""
    return [_source(body, number, settings) for number, body in enumerate(bodies)]


def _source(body: Mapping[str, JSON], number: int, settings: S3Settings) -> Mapping[str, JSON]:
    name = str(body.get("key", ""))
    # Without a key it is no input, and the run is dead with those words.
    params: dict[str, JSON] = {"Bucket": settings.bucket, "Key": name if fetchable(name) else ""}
    optional = {
        "Region": settings.region,
        "Endpoint": settings.endpoint,
        "VersionID": body.get("version"),
    }
    params.update({name: value for name, value in optional.items() if value})
    return {
        "Source": {"Type": "s3", "Params": params},
        "Target": f"{DIRECTORY}/{number}",
    }
