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


@pytest.fixture
def aws(endpoint: str, aws_credentials: None) -> Iterator[Aws]:
    """The server, with credentials of the test, whatever the machine has."""
    made = Aws(endpoint)
    yield made
    for client in made.opened.values():
        client.close()
