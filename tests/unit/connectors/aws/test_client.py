"""Clients of AWS's services."""

from __future__ import annotations

import pytest

from connectors.aws.client import make_client


def test_a_client_asks_once_and_waits_for_no_longer_than_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether to ask again is decided by whoever asks."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    client = make_client(
        "sqs", region="eu-central-1", endpoint="http://127.0.0.1:9", connections=3, read_timeout=7
    )
    config = client.meta.config
    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout) == (5, 7)
    assert config.max_pool_connections == 3
    assert client.meta.region_name == "eu-central-1"
    client.close()


def test_credentials_are_looked_for_with_each_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was wrong can be put right without a restart; descriptions of services are shared."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found: list[str] = []
    for key in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        client = make_client("sqs", region="eu-central-1", endpoint=None, connections=1)
        found.append(client._request_signer._credentials.access_key)
        client.close()
    assert found == ["first", "second"]
