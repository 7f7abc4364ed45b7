"""Objects in S3, or in what speaks like it, by boto3, which is loaded on first use."""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast

from connectors.abc import JSON
from connectors.storage.address import S3Address
from connectors.storage.objects import (
    STALE,
    Body,
    ObjectGone,
    ObjectStore,
    StorageRefused,
    StorageUnavailable,
    Stored,
    blocks,
    check_name,
    check_prefix,
    check_target,
    size_of,
)

MULTIPART_ABOVE = 32 * 1024 * 1024
PART = 16 * 1024 * 1024
PAGE = 1000
"""Names asked for at a time."""
_SECRETS = ("access_key_id", "secret_access_key", "session_token")
_CONTENT_TYPE = "application/octet-stream"
_GONE = ("NoSuchKey", "NoSuchUpload")
_UNAVAILABLE = ("SlowDown", "RequestTimeout", "ServiceUnavailable")
_NOT_OFFERED = ("NotImplemented", "MethodNotAllowed", "501", "405")


class S3Store(ObjectStore):
    """A bucket, and a prefix in it."""

    def __init__(self, address: S3Address, secrets: Mapping[str, str]) -> None:
        unknown = sorted(set(secrets) - set(_SECRETS))
        if unknown or (secrets and not {*_SECRETS[:2]} <= set(secrets)):
            raise ValueError("S3 takes access_key_id and secret_access_key, and session_token")
        self._address = address
        self._secrets = {f"aws_{name}": value for name, value in secrets.items()}
        self._prefix = f"{address.prefix}/" if address.prefix else ""
        self._lock = threading.Lock()
        self._made: Any = None

    def put(self, name: str, body: Body) -> Stored:
        key = self._key(name)
        size = size_of(body)
        if size <= MULTIPART_ABOVE:
            content = b"".join(blocks(body, PART))
            self._call("put_object", Key=key, Body=content, ContentType=_CONTENT_TYPE)
        else:
            self._put_parts(key, body)
        return Stored(name=name, uri=f"s3://{self._address.bucket}/{key}", size=size)

    def remove(self, name: str) -> None:
        with suppress(ObjectGone):
            self._call("delete_object", Key=self._key(name))

    def list(self, prefix: str = "") -> Iterator[str]:
        for page in self._pages("list_objects_v2", prefix):
            for item in page.get("Contents", ()):
                name = str(item["Key"]).removeprefix(self._prefix)
                with suppress(ValueError):
                    yield check_name(name)

    def open(self, name: str) -> BinaryIO:
        answer = self._call("get_object", Key=self._key(name))
        return cast(
            BinaryIO, io.BufferedReader(_Download(self._translated("get_object"), answer["Body"]))
        )

    def source(self, stored: Stored, target: str) -> Mapping[str, JSON]:
        directory = check_target(stored.name, target)
        params = {"Bucket": self._address.bucket, "Key": self._key(stored.name)}
        if self._address.region:
            params["Region"] = self._address.region
        if self._address.endpoint:
            params["Endpoint"] = self._address.endpoint
        # A node mounts a directory at the target, with the object in it under its last part.
        return {"Source": {"Type": "s3", "Params": params}, "Target": directory}

    def name_of(self, source: Mapping[str, JSON]) -> str | None:
        match source:
            case {"Source": {"Type": "s3", "Params": {"Bucket": bucket, "Key": str(key)}}}:
                if bucket == self._address.bucket and key.startswith(self._prefix):
                    with suppress(ValueError):
                        return check_name(key.removeprefix(self._prefix))
            case _:
                pass
        return None

    def sweep(self, prefix: str = "", older_than: float = STALE) -> None:
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        try:
            pages = list(self._pages("list_multipart_uploads", prefix))
        except _NotOffered:
            return
        for page in pages:
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < before:
                    with suppress(ObjectGone):
                        self._abort(upload["Key"], upload["UploadId"])

    def close(self) -> None:
        with self._lock:
            client, self._made = self._made, None
        if client is not None:
            client.close()

    def _put_parts(self, key: str, body: Body) -> None:
        upload = self._call("create_multipart_upload", Key=key, ContentType=_CONTENT_TYPE)
        upload_id = upload["UploadId"]
        parts: list[dict[str, object]] = []
        try:
            for number, block in enumerate(blocks(body, PART), 1):
                part = self._call(
                    "upload_part", Key=key, UploadId=upload_id, PartNumber=number, Body=block
                )
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            self._call(
                "complete_multipart_upload",
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
        except BaseException:
            # The first failure is what matters; what cannot be aborted now is swept later.
            with suppress(ObjectGone, StorageUnavailable, StorageRefused):
                self._abort(key, upload_id)
            raise

    def _abort(self, key: str, upload_id: str) -> None:
        self._call("abort_multipart_upload", Key=key, UploadId=upload_id)

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _pages(self, operation: str, prefix: str) -> Iterator[Mapping[str, Any]]:
        prefix = check_prefix(prefix)
        start = self._prefix + (f"{prefix}/" if prefix else "")
        with self._translated(operation):
            paginator = self._client().get_paginator(operation)
            yield from paginator.paginate(
                Bucket=self._address.bucket, Prefix=start, PaginationConfig={"PageSize": PAGE}
            )

    def _call(self, operation: str, **parameters: Any) -> Any:
        with self._translated(operation):
            call = getattr(self._client(), operation)
            return call(Bucket=self._address.bucket, **parameters)

    def _translated(self, operation: str) -> _Translated:
        return _Translated(f"S3 {operation} in {self._address}")

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                # These come without types, and loading them takes most of a second.
                session: Any = importlib.import_module("boto3.session")
                config: Any = importlib.import_module("botocore.config")
                self._made = session.Session().client(
                    "s3",
                    region_name=self._address.region,
                    endpoint_url=self._address.endpoint,
                    config=config.Config(
                        connect_timeout=5,
                        read_timeout=60,
                        retries={"mode": "standard", "max_attempts": 3},
                        signature_version="s3v4",
                        s3={"addressing_style": "path" if self._address.endpoint else "auto"},
                        # Many that speak like S3 do not know the newer checksums.
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                    ),
                    **self._secrets,
                )
            return self._made


class _NotOffered(StorageRefused):
    """The endpoint does not know the operation."""


class _Translated:
    """What boto3 raises, as what this package raises. The one place that knows both."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        exceptions: Any = importlib.import_module("botocore.exceptions")
        if isinstance(error, exceptions.ClientError):
            response: Mapping[str, Any] = cast(Any, error).response
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(response.get("Error", {}).get("Code", ""))
            message = f"{self._what}: {code} {response.get('Error', {}).get('Message', '')}".strip()
            if code in _GONE:
                raise ObjectGone(message) from error
            if code in _NOT_OFFERED:
                raise _NotOffered(message) from error
            if status >= 500 or status == 429 or code in _UNAVAILABLE:
                raise StorageUnavailable(message) from error
            raise StorageRefused(message) from error
        refused = (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.NoRegionError,
            exceptions.ProfileNotFound,
            exceptions.ParamValidationError,
        )
        if isinstance(error, refused):
            raise StorageRefused(f"{self._what}: {error}") from error
        if isinstance(error, exceptions.BotoCoreError | OSError):
            raise StorageUnavailable(f"{self._what}: {error}") from error


class _Download(io.RawIOBase):
    """An object that is being read."""

    def __init__(self, translated: _Translated, body: Any) -> None:
        super().__init__()
        self._translated = translated
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with self._translated:
            block = self._body.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()
