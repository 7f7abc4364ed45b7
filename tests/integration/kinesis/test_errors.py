"""What the service answers, in the words of this connector."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.kinesis import errors
from connectors.kinesis.client import IteratorExpired, ShardGone, Throttled
from connectors.kinesis.service import Service
from connectors.kinesis.settings import parse_settings
from connectors.streams import SourceRefused, SourceUnavailable


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("ProvisionedThroughputExceededException", 400, Throttled, "slows down"),
        ("LimitExceededException", 400, Throttled, "slows down"),
        ("KMSThrottlingException", 400, Throttled, "slows down"),
        ("ExpiredIteratorException", 400, IteratorExpired, "said"),
        ("ResourceNotFoundException", 400, ShardGone, "said"),
        ("AccessDeniedException", 400, SourceRefused, "kinesis:DescribeStreamSummary"),
        ("KMSAccessDeniedException", 400, SourceRefused, "does not allow"),
        ("UnrecognizedClientException", 400, SourceRefused, "does not accept the credentials"),
        ("InvalidArgumentException", 400, SourceRefused, "refuses"),
        ("InternalFailure", 500, SourceUnavailable, "cannot answer now"),
        ("ServiceUnavailable", 503, SourceUnavailable, "cannot answer now"),
    ],
)
def test_every_answer_has_one_meaning(code: str, status: int, kind: type[Exception], words: str):
    """boto3's own stub answers; what is nobody's fault is tried again, what is ours is said."""
    from botocore.stub import Stubber

    service = Service(parse_settings({"stream": "clicks", "region": "eu-central-1"}))
    stubbed = service.boto_client()
    with Stubber(stubbed) as stub:
        stub.add_client_error("get_records", code, "said", status)
        with pytest.raises(kind, match=words) as caught:
            service.read("iterator", 1)
    assert type(caught.value) is kind
    service.close()


def test_what_is_no_answer_is_told_apart():
    """Nobody there, no credentials, no region, a fault of our own."""
    from botocore import exceptions

    def meaning(error: Exception) -> Any:
        return errors.translate(error, where="Kinesis", stream="clicks", shard=None)

    away = exceptions.EndpointConnectionError(endpoint_url="http://x")
    assert isinstance(meaning(away), SourceUnavailable)
    assert "no AWS credentials" in str(meaning(exceptions.NoCredentialsError()))
    assert "AWS_REGION" in str(meaning(exceptions.NoRegionError()))
    assert isinstance(meaning(exceptions.ProfileNotFound(profile="x")), SourceRefused)
    assert meaning(KeyError("Records")) is None


def test_a_machine_without_credentials_or_region(monkeypatch: pytest.MonkeyPatch):
    """Refused with what is missing, before anything is asked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for settings, words in [
        ({}, "no AWS region"),
        ({"region": "eu-central-1"}, "no AWS credentials"),
        ({"region": "eu-central-1", "profile": "nobody"}, "nobody"),
    ]:
        service = Service(parse_settings({"stream": "clicks", **settings}))
        with pytest.raises(SourceRefused, match=words):
            service.stream()
        service.close()
