"""A store, a scripted cluster, and what stands between them, under a clock that stands still."""

from __future__ import annotations

import json
from dataclasses import replace

from orchestrator.domain import names
from orchestrator.services.cluster import Cluster
from orchestrator.services.sender import Sender, Sending
from orchestrator.store.claims import Claim
from orchestrator.store.seal import Seal
from orchestrator.store.values import Flight, Run
from tests.support.ledger import Ledger, claim_of
from tests.support.scripted import FakeJob, ScriptedCluster


class Desk:
    """Everything at hand."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clock = ledger.clock
        self.signals = ledger.db.signals
        self.remote = ScriptedCluster()
        self.cluster = Cluster(self.remote.client, ledger.db, self.clock, self.signals)
        self.seal = Seal(b"k" * 32)
        self.sender = Sender(self.cluster, ledger.flights, self.seal)

    def claim_of(self, run: Run) -> Claim:
        """A claim whose sealed bytes are a job with our labels."""
        claim = claim_of(run)
        labels = names.labels(
            instance=self.ledger.db.instance, run=run.id, attempt=run.attempts + 1
        )
        job = {"Name": claim.job_name, "Labels": labels | {names.LABEL_SPEC: claim.spec_hash}}
        return replace(claim, body=self.seal.seal(json.dumps({"Job": job}).encode()))

    def flights(self, count: int = 1, name: str = "tick") -> list[Flight]:
        """New runs, claimed."""
        for _ in range(count):
            self.ledger.fire(self.ledger.trigger(f"{name}-{len(self.ledger.runs())}"))
        ready = self.ledger.claims.ready(100)
        return self.ledger.claims.claim([self.claim_of(run) for run in ready], 1000)

    def accepted(self, name: str = "tick") -> tuple[Flight, FakeJob]:
        """A new run whose job the cluster has taken."""
        [flight] = self.flights(1, name)
        self.send(flight)
        return self.ledger.flight(flight), self.remote.jobs[flight.job_name]

    def send(self, flight: Flight, *, doubt: bool = False) -> None:
        """Send an attempt, and wait until the store has the answer."""
        sending = Sending(flight=flight, doubt=doubt)
        self.sender.send(sending)
        if sending.commit is not None:
            sending.commit.result(10)
