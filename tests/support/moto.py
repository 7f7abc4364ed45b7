"""moto's server, which speaks like AWS, and the credentials with which it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "hunter2"}
_LEFT_OUT = ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN")


@contextmanager
def serve() -> Iterator[str]:
    """The address of a server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def use_credentials(patch: pytest.MonkeyPatch) -> None:
    """Those of the test, whatever the machine has."""
    for name, value in KEYS.items():
        patch.setenv(name.upper(), value)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in _LEFT_OUT:
        patch.delenv(name, raising=False)


def client(service: str, endpoint: str, region: str) -> Any:
    """A client of one's own, past the connector."""
    from boto3.session import Session

    session: Any = Session(region_name=region, **KEYS)
    return session.client(service, endpoint_url=endpoint)
