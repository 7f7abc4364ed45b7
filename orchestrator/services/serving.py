"""Serving: what a life of a service is told, and how it proves that it is the one.

A run's token is derived from the store's key, the run and the attempt: nothing secret is stored,
and the token of an older attempt says that it is one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connectors.abc import Connector
from connectors.services import ServiceConnector, ServicePlan
from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.domain.keeping import Pause
from orchestrator.services.definitions import Definition
from orchestrator.store.copies import Copies
from orchestrator.store.values import Run

_INFO = b"orch heartbeats v1"
_TOKEN = re.compile(r"(?P<attempt>[1-9][0-9]{0,8})\.(?P<mac>[0-9a-f]{64})", re.ASCII)
_PAUSE = Pause(initial=SECOND, max=5 * MINUTE, healthy_after=MINUTE)


def heartbeat_key(key: bytes) -> bytes:
    """The key behind the tokens of runs, derived from the store's key file: 32 bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(key)


def run_token(key: bytes, run_id: str, attempt: int) -> str:
    """What an attempt of a run proves itself with."""
    mac = hmac.new(key, f"{run_id}\0{attempt}".encode(), hashlib.sha256).hexdigest()
    return f"{attempt}.{mac}"


def attempt_of(key: bytes, run_id: str, token: str) -> int | None:
    """The attempt that a token proves; None for one that is not of this run. Raises ValueError for
    what is no token at all."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise ValueError("this is not the token of a run")
    attempt = int(found["attempt"])
    good = hmac.compare_digest(run_token(key, run_id, attempt), token)
    return attempt if good else None


class NoPlan(Exception):
    """Nothing that is installed knows this kind of service."""


class Plans:
    """What services ask for, by their definitions."""

    def __init__(self, connectors: Mapping[str, Connector]) -> None:
        self._connectors = connectors

    def of(self, definition: Definition) -> ServicePlan:
        """What a service asks for. Raises NoPlan."""
        connector = self._connectors.get(definition.kind)
        if not isinstance(connector, ServiceConnector):
            raise NoPlan(f"there is no connector for the kind {definition.kind}: install it")
        return connector.plan(definition.settings)

    def beats(self, definition: Definition) -> bool:
        """Whether its tasks send heartbeats."""
        try:
            return self.of(definition).heartbeat is not None
        except NoPlan:
            return False

    def pause(self, definition: Definition) -> Pause:
        """How long its copies wait after lives that end too soon."""
        try:
            backoff = self.of(definition).backoff
        except NoPlan:
            return _PAUSE
        return Pause(initial=backoff.initial, max=backoff.max, healthy_after=backoff.healthy_after)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an attempt gets beside what every run has."""

    service: Mapping[str, Any]
    token: str
    env: Mapping[str, str]
    lease_us: int | None


class Teller:
    """Says what an attempt of a service's life is told."""

    def __init__(self, plans: Plans, copies: Copies, key: bytes, url: Callable[[], str]) -> None:
        """`url` is where tasks reach the API."""
        self._plans = plans
        self._copies = copies
        self._key = key
        self._url = url

    def tell(self, run: Run, definition: Definition, attempt: int) -> Told:
        """For the attempt of this number. Raises NoPlan."""
        plan = self._plans.of(definition)
        copy = self._copies.get(run.trigger_uid, run.partition)
        checkpoint = "null" if copy is None or copy.checkpoint is None else copy.checkpoint
        token = run_token(self._key, run.id, attempt)
        env = {"ORCH_COPY": run.partition, "ORCH_CHECKPOINT": checkpoint}
        if plan.heartbeat is not None:
            env |= {
                "ORCH_URL": self._url(),
                "ORCH_TOKEN": token,
                "ORCH_HEARTBEAT": f"{plan.heartbeat / SECOND:g}",
                "ORCH_LEASE": f"{plan.lease / SECOND:g}",
            }
        service = {
            **plan.values,
            "copy": int(run.partition),
            "url": self._url(),
            "checkpoint": checkpoint,
            "life": f"{plan.life / SECOND:g}",
            "heartbeat": f"{(plan.heartbeat or 0) / SECOND:g}",
            "lease": f"{plan.lease / SECOND:g}",
        }
        return Told(
            service=service,
            token=token,
            env=env,
            lease_us=None if plan.heartbeat is None else plan.lease,
        )
