"""Turns what boto3 raises into the exceptions of sources, with words for people.

`translate` knows what all services have in common. A connector looks at `answer_of` first, for the
codes that mean something of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.streams import SourceError, SourceRefused, SourceUnavailable

THROTTLED = frozenset(
    {
        "KMSThrottlingException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_RIGHTS = {
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "KMSAccessDeniedException",
    "KmsAccessDenied",
    "UnauthorizedOperation",
}
CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_SOON = {
    "ExpiredNextTokenException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ResourceInUseException",
    "ServiceUnavailable",
}
_SAID = 300  # characters of a service's own words


class Throttled(SourceUnavailable):
    """More was asked than the service allows now."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A service's answer that is an error."""

    code: str
    """Its name for it, without a namespace; "" where it gave none."""
    said: str
    """Its words, shortened."""
    status: int
    """Of HTTP; 0 where it is not known."""


def answer_of(error: Exception) -> Answer | None:
    """The service's answer; None where there was none."""
    library: Any = importlib.import_module("botocore.exceptions")
    if not isinstance(error, library.ClientError):
        return None
    response: Mapping[str, Any] = getattr(error, "response", {})
    details = response.get("Error", {})
    return Answer(
        code=str(details.get("Code", "")).rpartition("#")[2],
        said=str(details.get("Message", ""))[:_SAID],
        status=int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)),
    )


def translate(error: Exception, *, where: str, rights: str) -> SourceError | None:
    """The exception that says the same; None for one that is a fault of this program.

    `where` names service and place ("SQS at eu-central-1"), `rights` the permissions that are
    needed.
    """
    answer = answer_of(error)
    if answer is not None:
        return answered(answer, where=where, rights=rights)
    library: Any = importlib.import_module("botocore.exceptions")
    if isinstance(error, (library.NoCredentialsError, library.PartialCredentialsError)):
        return SourceRefused(
            f"{where}: no AWS credentials were found; see boto3's credential chain"
        )
    if isinstance(error, library.NoRegionError):
        return SourceRefused("no AWS region is known: write `region`, or set AWS_REGION")
    refused = (library.ProfileNotFound, library.ParamValidationError, library.ValidationError)
    if isinstance(error, (*refused, ValueError)):
        return SourceRefused(f"{where} cannot be asked: {error}")
    if isinstance(error, library.BotoCoreError):
        return SourceUnavailable(f"{where} does not answer: {error}")
    return None


def answered(answer: Answer, *, where: str, rights: str) -> SourceError:
    """What an answer means that no connector knows better."""
    code, said = answer.code, answer.said
    if code in THROTTLED:
        return Throttled(f"{where} slows down our calls: {code}")
    if code in _RIGHTS:
        return SourceRefused(f"{where} does not allow it: {said} (needed are {rights})")
    if code in CREDENTIALS:
        return SourceRefused(f"{where} does not accept the credentials: {code}: {said}")
    if answer.status >= 500 or code in _SOON or not code:
        return SourceUnavailable(f"{where} cannot answer now: {code or answer.status}: {said}")
    return SourceRefused(f"{where} refuses: {code}: {said}")
