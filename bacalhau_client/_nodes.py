"""Nodes and agents as values. Times as in ``_models``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bacalhau_client._parse import as_datetime


@dataclass(frozen=True, kw_only=True)
class Version:
    """Build of an agent. Development builds say ``v0.0.0-xxxxxxx``: no reason to refuse them."""

    git_version: str
    git_commit: str
    major: str
    minor: str
    build_date: str
    os: str
    architecture: str


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """CPU in cores, memory and disk in bytes, GPUs by number; 0 where the node says nothing."""

    cpu: float
    memory: int
    disk: int
    gpu: int


@dataclass(frozen=True, kw_only=True)
class ComputeInfo:
    """What a compute node can run and has room for. A lost node's lists are empty."""

    engines: tuple[str, ...]
    publishers: tuple[str, ...]
    storage_sources: tuple[str, ...]
    max_capacity: Capacity
    available_capacity: Capacity
    queue_capacity: Capacity
    max_job_requirements: Capacity
    running_executions: int
    enqueued_executions: int


@dataclass(frozen=True, kw_only=True)
class NodeInfo:
    """A node as it describes itself. ``compute`` is None for one that computes nothing."""

    id: str
    type: str
    labels: Mapping[str, str]
    protocols: tuple[str, ...]
    compute: ComputeInfo | None
    version: Version | None


@dataclass(frozen=True, kw_only=True)
class NodeConnection:
    """Connection of a compute node to its orchestrator: ``CONNECTED``, ``DISCONNECTED``, …"""

    status: str
    last_heartbeat: int
    connected_since: int
    disconnected_since: int
    last_error: str

    @property
    def is_connected(self) -> bool:
        return self.status == "CONNECTED"

    @property
    def last_heartbeat_at(self) -> datetime | None:
        return as_datetime(self.last_heartbeat)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node as its orchestrator sees it. ``membership`` is ``APPROVED``, ``PENDING``, …"""

    info: NodeInfo
    membership: str
    connection: NodeConnection
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        return self.info.id
