"""What a trigger lacks: the secrets that it names and nobody has set."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.registry import Registry
from orchestrator.operations.advice import Advice

_SASL = {"mechanism": "PLAIN", "user": "u", "password": {"secret": "PASSWORD"}}
_KAFKA = {"topic": "logs", "security": {"sasl": _SASL, "tls": {}}}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


@pytest.mark.parametrize(
    ("kind", "settings", "places"),
    [
        ("cron", {"every": "5s"}, []),
        ("webhook", {"secret": {"secret": "HOOK"}, "signature": "github"}, ["secret: … 'HOOK'"]),
        (
            "webhook",
            {"secret": [{"secret": "NEW"}, {"secret": "SET"}], "signature": "github"},
            ["secret: … 'NEW'"],
        ),
        ("kafka", _KAFKA, ["security.sasl.password: … 'PASSWORD'"]),
        ("nobody's", {"secret": {"secret": "HOOK"}}, []),
        ("webhook", {"secret": "no mapping"}, []),
    ],
)
def test_secrets_of_settings(
    registry: Registry, kind: str, settings: dict[str, Any], places: list[str]
) -> None:
    """Each secret that is missing is told with its place; nothing of what cannot be read."""
    found = Advice(registry, {"SET": "x"}).warnings(kind, settings)
    told = [line.replace("there is no secret", "…").partition(": set ")[0] for line in found]
    assert told == places


def test_secrets_of_a_job(registry: Registry) -> None:
    """A job's placeholders name secrets, too; each is told once, with how to set it."""
    env = {"A": "${{ secret.TOKEN }}", "B": "x${{ secret.TOKEN }}", "C": "${{ secret.SET }}"}
    job = {"Tasks": [{"Env": env}]}
    [told] = Advice(registry, {"SET": "x"}).warnings("cron", {"every": "5s"}, job)
    assert told == (
        "job.Tasks[0].Env.A: there is no secret 'TOKEN': set ORCH_SECRET_TOKEN, or write the file "
        "secrets/TOKEN in the data directory"
    )
