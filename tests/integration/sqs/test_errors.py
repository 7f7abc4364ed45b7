"""What the service answers, in the words of this connector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.aws import errors
from connectors.aws.address import parse_queue
from connectors.aws.errors import Throttled
from connectors.aws.queue import Queue, QueueGone
from connectors.streams import SourceRefused, SourceUnavailable

URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", 400, QueueGone, "has no queue 'orders'"),
        ("QueueDoesNotExist", 400, QueueGone, "check its name, `region` and `endpoint`"),
        ("AccessDenied", 403, SourceRefused, "sqs:GetQueueUrl.* DeleteMessage"),
        ("AccessDeniedException", 400, SourceRefused, "does not allow it"),
        ("KmsAccessDenied", 400, SourceRefused, "does not allow it"),
        ("InvalidClientTokenId", 403, SourceRefused, "does not accept the credentials"),
        ("SignatureDoesNotMatch", 403, SourceRefused, "does not accept the credentials"),
        ("InvalidSecurity", 403, SourceRefused, "does not accept the credentials"),
        ("InvalidAddress", 400, SourceRefused, "write the queue's URL"),
        ("KmsDisabled", 400, SourceRefused, "refuses: KmsDisabled"),
        ("RequestThrottled", 403, Throttled, "slows down"),
        ("ThrottlingException", 400, Throttled, "slows down"),
        ("KmsThrottled", 400, Throttled, "slows down"),
        ("AWS.SimpleQueueService.OverLimit", 403, Throttled, "too many are in flight"),
        ("InternalError", 500, SourceUnavailable, "cannot answer now"),
        ("ServiceUnavailable", 503, SourceUnavailable, "cannot answer now"),
    ],
)
def test_every_answer_has_one_meaning(code: str, status: int, kind: type[Exception], words: str):
    """What is nobody's fault is tried again, what is ours is said, with what to do about it."""
    from botocore.stub import Stubber

    asks: dict[str, Callable[[Queue], object]] = {
        "receive_message": lambda queue: queue.receive(10, 1, 30),
        "delete_message_batch": lambda queue: queue.delete(["r"]),
        "change_message_visibility_batch": lambda queue: queue.change([("r", 30)]),
    }
    for call, ask in asks.items():
        queue = Queue(parse_queue(URL), region="eu-central-1", endpoint=None)
        with Stubber(queue.boto_client()) as stub:
            stub.add_client_error(call, code, "said", status)
            with pytest.raises(kind, match=words) as caught:
                ask(queue)
        assert type(caught.value) is kind
        queue.close()


def test_a_wrong_region_is_named_where_the_service_says_so():
    """A signature for another region is refused with AWS's own words."""
    answer = errors.Answer(
        code="SignatureDoesNotMatch",
        said="Credential should be scoped to a valid region",
        status=403,
    )
    found = errors.answered(answer, where="SQS at eu-central-1", rights="")
    assert "valid region" in str(found)


def test_what_is_no_answer_is_told_apart():
    """Nobody there, no credentials, no region, a fault of our own."""
    from botocore import exceptions

    def meaning(error: Exception) -> Any:
        return errors.translate(error, where="SQS", rights="all")

    away = exceptions.EndpointConnectionError(endpoint_url="http://x")
    assert isinstance(meaning(away), SourceUnavailable)
    assert "no AWS credentials" in str(meaning(exceptions.NoCredentialsError()))
    assert "AWS_REGION" in str(meaning(exceptions.NoRegionError()))
    wrong = exceptions.ParamValidationError(report="too long")
    assert isinstance(meaning(wrong), SourceRefused)
    assert meaning(KeyError("Messages")) is None


def test_no_region_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    """Neither in the settings nor in the environment nor in boto3's files."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    queue = Queue(parse_queue("orders"), region=None, endpoint=None)
    with pytest.raises(SourceRefused, match="write `region`"):
        queue.state()


def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    """Before anything is sent."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    queue = Queue(parse_queue(URL), region=None, endpoint="http://127.0.0.1:9")
    with pytest.raises(SourceRefused, match="no AWS credentials were found"):
        queue.receive(1, 1, 30)
    queue.close()
