"""moto's server, and credentials that it takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

REGION = "eu-central-1"
numbers = itertools.count(1)


class Aws:
    """A server, and clients of one's own."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.opened: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A client that speaks to the server past the connector."""
        if service not in self.opened:
            from boto3.session import Session

            self.opened[service] = Session().client(
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id="key",
                aws_secret_access_key="hunter2",
            )
        return self.opened[service]


@pytest.fixture(scope="session")
def _server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """The server, with credentials of the test, whatever the machine has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    made = Aws(_server)
    yield made
    for client in made.opened.values():
        client.close()
