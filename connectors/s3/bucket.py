"""A bucket over botocore, which is loaded when the first question is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.aws.errors import CREDENTIALS, answer_of
from connectors.aws.shared import SharedClient
from connectors.s3 import errors
from connectors.s3.objects import Found
from connectors.s3.settings import S3Settings
from connectors.streams import SourceRefused

PAGE = 1000
"""Keys of one answer; S3 gives no more."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Behind which key, and where all versions are listed which version of it, a page begins."""

    key: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One answer."""

    objects: Sequence[Found]
    now: int
    """The service's clock, microseconds since 1970, to the second."""
    next: Place | None
    """Where the next page begins; None: this was the last one."""
    complete: str
    """The last key all of whose versions have been listed; "" where this page has none."""


class Bucket:
    """The bucket that the settings name."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._client = SharedClient(
            "s3",
            region=settings.region,
            endpoint=settings.endpoint,
            read_timeout=30.0,
            # A connection that was idle for minutes may be closed at the other end.
            attempts=2,
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
        )

    def page(self, place: Place) -> Page:
        """The objects behind a place, in the order of their keys' bytes. Raises
        :class:`connectors.streams.SourceUnavailable` and
        :class:`connectors.streams.SourceRefused`."""
        question = {
            "Bucket": self._settings.bucket,
            "Prefix": self._settings.prefix,
            "MaxKeys": PAGE,
        }
        ask = self._versions if self._settings.versions else self._newest
        page = ask(question, place)
        if page.next is not None and (page.next == place or page.next.key < place.key):
            where = errors.where(self._settings)
            raise SourceRefused(f"{where} does not list keys in their order, behind a given one")
        return page

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        self._client.close()

    def boto_client(self) -> Any:
        """botocore's client, which is made on first use."""
        return self._client.get()

    def _newest(self, question: Mapping[str, Any], place: Place) -> Page:
        # By key and not by token: a token is void after a while, and after a restart.
        since = {"StartAfter": place.key} if place.key else {}
        answer = self._ask("list_objects_v2", **question, **since)
        found = [_found(item) for item in answer.get("Contents", ())]
        last = found[-1].key if found else place.key
        return Page(
            objects=found,
            now=_clock(answer),
            next=Place(key=last) if answer.get("IsTruncated") else None,
            complete=last,
        )

    def _versions(self, question: Mapping[str, Any], place: Place) -> Page:
        since = {"KeyMarker": place.key} if place.key else {}
        if place.version:
            since["VersionIdMarker"] = place.version
        answer = self._ask("list_object_versions", **question, **since)
        found = [_found(item) for item in answer.get("Versions", ())]
        markers = [str(item["Key"]) for item in answer.get("DeleteMarkers", ())]
        keys = sorted({*(one.key for one in found), *markers})
        following = None
        if answer.get("IsTruncated"):
            following = Place(
                key=str(answer.get("NextKeyMarker") or ""),
                version=str(answer.get("NextVersionIdMarker") or ""),
            )
            # More versions of the last key may be on the next page.
            keys = keys[:-1]
        return Page(
            objects=found,
            now=_clock(answer),
            next=following,
            complete=keys[-1] if keys else "",
        )

    def _ask(self, operation: str, **question: Any) -> Any:
        try:
            call: Callable[..., Any] = getattr(self.boto_client(), operation)
            return call(**question)
        except Exception as error:
            answer = answer_of(error)
            if answer is not None and answer.code in CREDENTIALS:
                self._client.renew()
            found = errors.translate(error, self._settings)
            if found is None:
                raise
            raise found from error


def _found(item: Mapping[str, Any]) -> Found:
    version = str(item.get("VersionId") or "")
    return Found(
        key=str(item["Key"]),
        etag=str(item.get("ETag", "")).strip('"'),
        size=int(item.get("Size", 0)),
        modified=(item["LastModified"] - _EPOCH) // timedelta(microseconds=1),
        version="" if version == "null" else version,
    )


def _clock(answer: Mapping[str, Any]) -> int:
    """The service's time, which LastModified is compared with; ours may differ."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    moment = datetime.now(UTC)
    with suppress(KeyError, ValueError):
        moment = parsedate_to_datetime(headers["date"])
    return int(moment.timestamp()) * 1_000_000
