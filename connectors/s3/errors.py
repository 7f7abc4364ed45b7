"""What S3 answers when it does not answer the question, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.aws.errors import answer_of
from connectors.aws.errors import translate as of_every_service
from connectors.s3.settings import S3Settings
from connectors.streams import SourceError, SourceRefused, SourceUnavailable

_ELSEWHERE = {
    "301",
    "307",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "Redirect",
    "TemporaryRedirect",
}
_REGION = "x-amz-bucket-region"


def where(settings: S3Settings) -> str:
    """The service, for messages."""
    return f"S3 at {settings.endpoint or settings.region or 'the default region'}"


def translate(error: Exception, settings: S3Settings) -> SourceError | None:
    """The exception that says the same; None for one that is a fault of this program."""
    place, bucket = where(settings), settings.bucket
    answer = answer_of(error)
    if answer is not None:
        if answer.code in ("NoSuchBucket", "InvalidBucketName"):
            return SourceRefused(
                f"{place} has no bucket {bucket!r}: check its name, `region` and `endpoint`"
            )
        if answer.code in _ELSEWHERE or answer.status in (301, 307):
            region = _region(getattr(error, "response", {}))
            lies = f"in the region {region!r}" if region else "in another region"
            return SourceRefused(f"{place}: the bucket {bucket!r} lies {lies}: set `region`")
        if answer.code == "RequestTimeTooSkewed":
            return SourceRefused(f"{place} refuses: this machine's clock is wrong: {answer.said}")
        if answer.status == 403 and answer.code in ("403", "Forbidden"):
            return SourceRefused(f"{place} does not allow it (needed is {_right(settings)})")
        if answer.status == 429:
            return SourceUnavailable(f"{place} slows down our calls: {answer.code or 429}")
    return of_every_service(error, where=place, rights=_right(settings))


def _right(settings: S3Settings) -> str:
    operation = "s3:ListBucketVersions" if settings.versions else "s3:ListBucket"
    return f"{operation} on {settings.bucket}"


def _region(response: Mapping[str, Any]) -> str:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get(_REGION) or response.get("Error", {}).get("Region") or "")
