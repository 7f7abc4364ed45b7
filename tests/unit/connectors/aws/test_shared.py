"""Clients that several users have together."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.aws import shared
from connectors.aws.shared import SharedClient


class Made:
    """Stands for boto3's client."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Made]:
    """All that were made."""
    clients: list[Made] = []

    def make(*_: Any, **__: Any) -> Made:
        clients.append(Made())
        return clients[-1]

    monkeypatch.setattr(shared, "make_client", make)
    monkeypatch.setattr(shared, "_places", {})
    return clients


def _user(region: str = "eu-central-1") -> SharedClient:
    return SharedClient("sqs", region=region, endpoint=None, read_timeout=30)


def test_one_client_for_each_place(made: list[Made]) -> None:
    """Made on first use, closed behind the last user, made anew for the next one."""
    first, second, elsewhere = _user(), _user(), _user("us-east-1")
    assert not made
    assert first.get() is second.get() is first.get()
    assert elsewhere.get() is not first.get()
    first.close()
    first.close()
    assert [client.closed for client in made] == [0, 0]
    second.close()
    elsewhere.close()
    assert [client.closed for client in made] == [1, 1]
    assert first.get() is made[2]
    first.close()


def test_refused_credentials_are_looked_for_anew(made: list[Made]) -> None:
    """By whoever was refused; the others go on with what they have until they are."""
    first, second = _user(), _user()
    old = first.get()
    assert second.get() is old
    first.renew()
    assert first.get() is not old
    assert second.get() is old
    second.renew()
    assert second.get() is first.get()
    assert [client.closed for client in made] == [1, 0]
    first.close()
    second.close()
    second.renew()
    assert [client.closed for client in made] == [1, 1]
