"""S3 for inputs and results, by boto3, which is loaded when the first job needs it."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .states import Json, mapping

_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_PRESIGNED_SECONDS = 900


class S3Error(Exception):
    """A failure of S3 in the node's words; `details` go into the job's history."""

    def __init__(self, message: str, details: Json) -> None:
        super().__init__(message)
        self.details = details


class Access:
    """The compute node's own access to S3."""

    def __init__(self, credentials: Mapping[str, str] | None) -> None:
        self._credentials = os.environ if credentials is None else credentials
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @property
    def available(self) -> bool:
        """Whether the node has credentials and so offers S3."""
        return bool(self._credentials.get("AWS_ACCESS_KEY_ID"))

    def find(self, parameters: Json) -> list[str]:
        """The keys that an input source names: one, or with a trailing `*` all of a prefix."""
        bucket, key = str(parameters.get("Bucket", "")), str(parameters.get("Key", ""))
        client = self._client(parameters)
        if not key.endswith("*"):
            self._call("HeadObject", client.head_object, Bucket=bucket, Key=key)
            return [key]
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = self._call(
                "ListObjectsV2", client.list_objects_v2, Bucket=bucket, Prefix=key[:-1], **token
            )
            found += [item["Key"] for item in page.get("Contents", ()) if item["Size"]]
            if not page.get("IsTruncated"):
                break
            token = {"ContinuationToken": page["NextContinuationToken"]}
        if not found:
            raise _error("no objects found", "ListObjectsV2", "NotFound")
        return found

    def download(self, parameters: Json, key: str, place: Path) -> None:
        """Writes an object to a file."""
        client = self._client(parameters)
        self._call("GetObject", client.download_file, str(parameters["Bucket"]), key, str(place))

    def upload(self, parameters: Json, key: str, file: Path) -> None:
        """Writes a file to an object."""
        client = self._client(parameters)
        self._call("PutObject", client.upload_file, str(file), str(parameters["Bucket"]), key)

    def presigned(self, parameters: Json) -> str:
        """A URL that reads an object for a quarter of an hour."""
        client = self._client(parameters)
        place = {"Bucket": parameters["Bucket"], "Key": parameters["Key"]}
        return str(
            client.generate_presigned_url("get_object", Params=place, ExpiresIn=_PRESIGNED_SECONDS)
        )

    def _client(self, parameters: Json) -> Any:
        # These come without types, and loading them takes most of a second.
        session: Any = importlib.import_module("boto3.session")
        config: Any = importlib.import_module("botocore.config")
        endpoint = str(parameters.get("Endpoint") or "")
        region = str(parameters.get("Region") or "us-east-1")
        with self._lock:
            client = self._clients.get((endpoint, region))
            if client is None:
                key, secret, token = (self._credentials.get(name) for name in _CREDENTIALS)
                client = session.Session().client(
                    "s3",
                    region_name=region,
                    endpoint_url=endpoint or None,
                    aws_access_key_id=key,
                    aws_secret_access_key=secret,
                    aws_session_token=token or None,
                    config=config.Config(
                        connect_timeout=5,
                        read_timeout=30,
                        retries={"max_attempts": 2},
                        signature_version="s3v4",
                        s3={"addressing_style": "path" if endpoint else "auto"},
                    ),
                )
                self._clients[endpoint, region] = client
        return client

    def _call(self, operation: str, call: Any, *args: Any, **kwargs: Any) -> Any:
        exceptions: Any = importlib.import_module("botocore.exceptions")
        try:
            return call(*args, **kwargs)
        except exceptions.ClientError as error:
            response: Json = dict(error.response)
            status = mapping(response, "ResponseMetadata").get("HTTPStatusCode", 0)
            code = "NotFound" if status == 404 else str(mapping(response, "Error").get("Code", ""))
            words = f"https response error StatusCode: {status}, RequestID: , HostID: , {code}:"
            raise _error(words, operation, code) from error
        except (exceptions.BotoCoreError, OSError) as error:
            raise _error(str(error), operation, "") from error


def _error(words: str, operation: str, code: str) -> S3Error:
    return S3Error(
        f"failed to fetch s3 input: operation error S3: {operation}, {words}",
        {"ErrorCode": f"S3InputSource:{code}", "Operation": operation, "Service": "S3"},
    )
