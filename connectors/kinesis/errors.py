"""Turns what boto3 raises into the exceptions of this connector, with words for people."""

from __future__ import annotations

import importlib
from typing import Any

from connectors.kinesis.client import IteratorExpired, ShardGone, Throttled
from connectors.streams import SourceError, SourceRefused, SourceUnavailable

_THROTTLED = {
    "KMSThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
}
_RIGHTS = {
    "AccessDenied",
    "AccessDeniedException",
    "KMSAccessDeniedException",
    "UnauthorizedOperation",
}
_CREDENTIALS = {
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_SOON = {"ResourceInUseException", "ExpiredNextTokenException", "RequestTimeoutException"}


def translate(
    error: Exception, *, where: str, stream: str, shard: str | None
) -> SourceError | IteratorExpired | ShardGone | None:
    """The exception that says the same; None for one that is a fault of this program.

    `shard` is set when the question was about one shard: its name, or "" for an iterator.
    """
    library: Any = importlib.import_module("botocore.exceptions")
    if isinstance(error, library.ClientError):
        response: Any = getattr(error, "response", {})
        return _answered(response, where=where, stream=stream, shard=shard)
    if isinstance(error, (library.NoCredentialsError, library.PartialCredentialsError)):
        return SourceRefused(
            f"{where}: no AWS credentials were found; see boto3's credential chain"
        )
    if isinstance(error, library.NoRegionError):
        return SourceRefused("no AWS region is known: write `region`, or set AWS_REGION")
    if isinstance(error, (library.ProfileNotFound, library.ValidationError, ValueError)):
        return SourceRefused(f"{where} cannot be asked: {error}")
    if isinstance(error, library.BotoCoreError):
        return SourceUnavailable(f"{where} does not answer: {error}")
    return None


def _answered(
    response: Any, *, where: str, stream: str, shard: str | None
) -> SourceError | IteratorExpired | ShardGone:
    details = response.get("Error", {})
    code = str(details.get("Code", "")).rpartition("#")[2]
    said = str(details.get("Message", ""))[:300]
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _THROTTLED:
        return Throttled(f"{where} slows down reads of {stream!r}: {code}")
    if code == "ExpiredIteratorException":
        return IteratorExpired(said)
    if code == "ResourceNotFoundException" and shard is not None:
        return ShardGone(said)
    if code == "ResourceNotFoundException":
        return SourceRefused(
            f"{where} has no stream {stream!r}: check its name, `region` and `endpoint`"
        )
    if code in _RIGHTS:
        return SourceRefused(
            f"{where} does not allow it: {said} (needed are kinesis:DescribeStreamSummary,"
            " ListShards, GetShardIterator and GetRecords)"
        )
    if code in _CREDENTIALS:
        return SourceRefused(f"{where} does not accept the credentials: {code}: {said}")
    if status >= 500 or code in _SOON or not code:
        return SourceUnavailable(f"{where} cannot answer now: {code or status}: {said}")
    return SourceRefused(f"{where} refuses: {code}: {said}")
