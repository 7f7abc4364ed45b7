"""S3 over HTTP: parts, what failures mean, other people's objects."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.storage import s3
from connectors.storage.address import parse
from connectors.storage.objects import (
    ObjectGone,
    ObjectStore,
    StorageRefused,
    StorageUnavailable,
)
from connectors.storage.stores import open_store
from tests.integration.storage.conftest import SECRETS

NAME = "u/logs/7/100-200/batch.ndjson"
PART = 5 * 1024 * 1024
"""The least that S3 takes for a part that is not the last."""


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects above 6 MiB go in parts."""
    monkeypatch.setattr(s3, "PART", PART)
    monkeypatch.setattr(s3, "MULTIPART_ABOVE", PART + 1024 * 1024)


def _uploads(client: Any, bucket: str) -> list[Any]:
    return client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("form", ["chunks", "file"])
def test_large_objects_go_in_parts(
    s3_store: ObjectStore, s3_client: Any, bucket: str, tmp_path: Path, form: str
) -> None:
    """Several parts, one object, its bytes in order."""
    content = b"".join(b"%07d\n" % number for number in range(2 * PART // 8 + 1000))
    if form == "file":
        (tmp_path / "body").write_bytes(content)
        stored = s3_store.put(NAME, tmp_path / "body")
    else:
        chunks = [content[start : start + 999_999] for start in range(0, len(content), 999_999)]
        stored = s3_store.put(NAME, chunks)
    assert stored.size == len(content)
    assert stored.uri == f"s3://{bucket}/some/prefix/{NAME}"
    head = s3_client.head_object(Bucket=bucket, Key=f"some/prefix/{NAME}")
    assert head["ETag"].endswith('-3"')
    with s3_store.open(NAME) as stream:
        assert stream.read() == content
    assert _uploads(s3_client, bucket) == []


@pytest.mark.usefixtures("small_parts")
def test_a_failed_upload_is_aborted(s3_store: ObjectStore, s3_client: Any, bucket: str) -> None:
    """What breaks off in the middle leaves no object and no parts that cost money."""

    class Broken(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            yield b"x" * PART
            yield b"x" * PART
            if _uploads(s3_client, bucket):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        s3_store.put(NAME, Broken())
    assert _uploads(s3_client, bucket) == []
    assert list(s3_store.list()) == []


def test_interrupted_uploads_are_swept(s3_store: ObjectStore, s3_client: Any, bucket: str) -> None:
    """What a killed process left is aborted once it is nobody's any more; others' stay."""
    mine, theirs = f"some/prefix/{NAME}", "elsewhere"
    for key in (mine, theirs):
        s3_client.create_multipart_upload(Bucket=bucket, Key=key)
    # moto says that all of them began in 2010.
    s3_store.sweep(older_than=3600.0 * 24 * 365 * 100)
    assert len(_uploads(s3_client, bucket)) == 2
    s3_store.sweep()
    assert [upload["Key"] for upload in _uploads(s3_client, bucket)] == [theirs]


def test_listing_more_than_a_page(
    s3_store: ObjectStore, s3_client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pages; what is no object's name belongs to someone else."""
    monkeypatch.setattr(s3, "PAGE", 4)
    for number in range(10):
        s3_client.put_object(Bucket=bucket, Key=f"some/prefix/a/{number}/x", Body=b"")
    for foreign in ("some/prefix/a/", "some/prefix/a/b c", "some/prefix-2/a/1/x", "x"):
        s3_client.put_object(Bucket=bucket, Key=foreign, Body=b"")
    assert len(set(s3_store.list("a"))) == len(list(s3_store.list())) == 10


def test_the_input_source(s3_store: ObjectStore, bucket: str, endpoint: str) -> None:
    """The target is the directory, in which the node puts the object under its last part."""
    source = s3_store.source(s3_store.put(NAME, [b"x"]), "/orch/batch.ndjson")
    assert source == {
        "Source": {
            "Type": "s3",
            "Params": {
                "Bucket": bucket,
                "Key": f"some/prefix/{NAME}",
                "Region": "us-east-1",
                "Endpoint": endpoint,
            },
        },
        "Target": "/orch",
    }


def test_no_such_bucket(endpoint: str) -> None:
    """Refused by every operation, with the bucket's name; not taken for a missing object."""
    address = parse(f"s3://nowhere?region=us-east-1&endpoint={endpoint}")
    with open_store(address, SECRETS) as store:
        for operation in (
            lambda: store.put(NAME, [b"x"]),
            lambda: store.open(NAME),
            lambda: list(store.list()),
            lambda: store.remove(NAME),
        ):
            with pytest.raises(StorageRefused, match=r"nowhere.*NoSuchBucket"):
                operation()


@contextmanager
def _answering(status: int, code: str) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = f"<Error><Code>{code}</Code><Message>words</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", StorageRefused),
        (403, "InvalidAccessKeyId", StorageRefused),
        (400, "AuthorizationHeaderMalformed", StorageRefused),
        (400, "ExpiredToken", StorageRefused),
        (503, "SlowDown", StorageUnavailable),
        (500, "InternalError", StorageUnavailable),
        (404, "NoSuchKey", ObjectGone),
    ],
)
def test_what_errors_mean(status: int, code: str, error: type[Exception]) -> None:
    """Refused, for now, or gone, in words that hold the code and no secret."""
    with (
        _answering(status, code) as endpoint,
        open_store(parse(f"s3://logs?region=us-east-1&endpoint={endpoint}"), SECRETS) as store,
        pytest.raises(error, match=rf"S3 get_object in s3://logs.*: {code} words") as caught,
    ):
        store.open(NAME)
    assert "hunter2" not in str(caught.value)


def test_sweeping_where_parts_are_unknown() -> None:
    """An endpoint that cannot list uploads has none to sweep."""
    with (
        _answering(501, "NotImplemented") as endpoint,
        open_store(parse(f"s3://logs?region=us-east-1&endpoint={endpoint}"), SECRETS) as store,
    ):
        store.sweep()


def test_nobody_answers() -> None:
    """A closed port: tried again later."""
    with (
        open_store(parse("s3://logs?region=x&endpoint=http://127.0.0.1:1"), SECRETS) as store,
        pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:1"),
    ):
        store.put(NAME, [b"x"])


def test_no_credentials(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither given nor in boto3's own chain: refused, in boto3's words."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with (
        open_store(parse(f"s3://logs?region=us-east-1&endpoint={endpoint}")) as store,
        pytest.raises(StorageRefused, match="credentials"),
    ):
        store.put(NAME, [b"x"])


@pytest.mark.parametrize("secrets", [{"token": "x"}, {"access_key_id": "x"}])
def test_secrets_that_do_not_fit(secrets: dict[str, str]) -> None:
    """Half a pair, or what another store takes, is a mistake of the caller."""
    with pytest.raises(ValueError, match="S3 takes access_key_id"):
        open_store(parse("s3://logs"), secrets)
