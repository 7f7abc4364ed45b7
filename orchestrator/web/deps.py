"""What the web needs of the daemon."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connectors.registry import Registry
from orchestrator.domain.clock import Clock
from orchestrator.operations.advice import Advice
from orchestrator.operations.audit import Auditor
from orchestrator.operations.jobs import JobDesk
from orchestrator.operations.registration import Registrar
from orchestrator.operations.timing import Timing
from orchestrator.services.cluster import Cluster
from orchestrator.services.definitions import Definitions
from orchestrator.services.heartbeats import HeartbeatDesk
from orchestrator.services.hooks import Hooks
from orchestrator.services.loop import Service
from orchestrator.services.serving import Plans
from orchestrator.services.sources import SourceService
from orchestrator.store.commands import Commands
from orchestrator.store.copies import Copies
from orchestrator.store.database import Database
from orchestrator.store.intake import Intake
from orchestrator.store.jobs import Jobs
from orchestrator.store.leases import Leases
from orchestrator.store.reads import Reads
from orchestrator.store.sources import Sources
from orchestrator.store.tokens import Tokens
from orchestrator.store.triggers import Triggers
from orchestrator.web.accesslog import AccessLog


@dataclass(frozen=True, kw_only=True)
class Deps:
    """Everything an endpoint may use, and how the API may be reached.

    `hosts` are the names, in lower case and without ports, that a `Host` header may have beside
    the address that a connection came in on. `token_needed` asks for a token even while none
    exists: the case on any address but loopback.
    """

    data_dir: Path
    clock: Clock
    registry: Registry
    database: Database
    reads: Reads
    triggers: Triggers
    intake: Intake
    commands: Commands
    leases: Leases
    tokens: Tokens
    definitions: Definitions
    registrar: Registrar
    advice: Advice
    timing: Timing
    auditor: Auditor
    jobs: Jobs
    job_desk: JobDesk
    cluster: Cluster
    services: Sequence[Service]
    sources: SourceService
    hooks: Hooks
    source_store: Sources
    copies: Copies
    plans: Plans
    heartbeats: HeartbeatDesk
    callback_key: bytes
    hosts: frozenset[str]
    public_origin: str | None = None
    token_needed: bool = False
    access_log: AccessLog | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
