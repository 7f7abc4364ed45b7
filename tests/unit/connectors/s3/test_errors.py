"""What S3 answers instead of a page, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.s3.bucket import Bucket, Place
from connectors.s3.settings import parse_settings
from connectors.streams import SourceRefused, SourceUnavailable


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the test, whatever the machine has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """One that nothing is asked of."""
    made = Bucket(parse_settings({"bucket": "logs", "region": "eu-central-1"}))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("NoSuchBucket", 404, SourceRefused, "no bucket 'logs'"),
        ("AccessDenied", 403, SourceRefused, "needed are s3:ListBucket on logs"),
        ("403", 403, SourceRefused, "needed is s3:ListBucket on logs"),
        ("AllAccessDisabled", 403, SourceRefused, "does not allow"),
        ("PermanentRedirect", 301, SourceRefused, "in another region: set `region`"),
        ("AuthorizationHeaderMalformed", 400, SourceRefused, "in another region"),
        ("IllegalLocationConstraintException", 400, SourceRefused, "in another region"),
        ("InvalidAccessKeyId", 403, SourceRefused, "does not accept the credentials"),
        ("SignatureDoesNotMatch", 403, SourceRefused, "does not accept the credentials"),
        ("ExpiredToken", 400, SourceRefused, "does not accept the credentials"),
        ("RequestTimeTooSkewed", 403, SourceRefused, "clock is wrong"),
        ("InvalidArgument", 400, SourceRefused, "refuses"),
        ("NotImplemented", 501, SourceUnavailable, "cannot answer now"),
        ("SlowDown", 503, SourceUnavailable, "slows down"),
        ("TooManyRequests", 429, SourceUnavailable, "slows down"),
        ("InternalError", 500, SourceUnavailable, "cannot answer now"),
        ("ServiceUnavailable", 503, SourceUnavailable, "cannot answer now"),
    ],
)
def test_every_answer_has_one_meaning(
    bucket: Bucket, code: str, status: int, kind: type[Exception], words: str
):
    """What is nobody's fault is tried again, what is ours is said with its remedy."""
    from botocore.stub import Stubber

    with Stubber(bucket.boto_client()) as stub:
        # A call is tried twice in all.
        for _ in range(2):
            stub.add_client_error("list_objects_v2", code, "said", status)
        with pytest.raises(kind, match=words):
            bucket.page(Place())


def test_the_region_is_told_where_it_is_known(bucket: Bucket):
    """S3 says in which region a bucket lies; so does the message."""
    from botocore.exceptions import ClientError

    from connectors.s3 import errors

    response: Any = {
        "Error": {"Code": "PermanentRedirect", "Message": "elsewhere"},
        "ResponseMetadata": {
            "HTTPStatusCode": 301,
            "HTTPHeaders": {"x-amz-bucket-region": "us-east-1"},
        },
    }
    settings = parse_settings({"bucket": "logs", "region": "eu-central-1"})
    told = errors.translate(ClientError(response, "ListObjectsV2"), settings)
    assert "'us-east-1'" in str(told)


@pytest.mark.parametrize("versions", [False, True])
def test_a_service_that_ignores_where_to_go_on(versions: bool):
    """One that gives the first page again and again is found out, instead of asked for ever."""
    from botocore.stub import Stubber

    given = parse_settings({"bucket": "logs", "region": "eu-central-1", "versions": versions})
    made = Bucket(given)
    item = {"Key": "a", "ETag": '"e"', "Size": 1, "LastModified": datetime(2026, 1, 1, tzinfo=UTC)}
    answers = {
        False: ("list_objects_v2", {"Contents": [item], "IsTruncated": True}),
        True: (
            "list_object_versions",
            {"Versions": [{**item, "VersionId": "v"}], "IsTruncated": True, "NextKeyMarker": "a"},
        ),
    }
    with Stubber(made.boto_client()) as stub:
        stub.add_response(*answers[versions])
        stub.add_response(*answers[versions])
        assert made.page(Place()).next == Place(key="a")
        with pytest.raises(SourceRefused, match="in their order"):
            made.page(Place(key="a"))
    made.close()


def test_a_machine_without_credentials(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    """It is said before anything is asked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(SourceRefused, match="no AWS credentials"):
        bucket.page(Place())
