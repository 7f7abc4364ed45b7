"""The simulated compute nodes, and which of them suit a job."""

from __future__ import annotations

import platform
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from . import selectors
from .executors import Control
from .model import Execution, now_ns, timestamp
from .runner import Outcome
from .states import RAN_TWICE, REJECTED, Compute, Json, sequence, short_node_id

TRIES_PER_NODE = 2
NEVER = "0001-01-01T00:00:00Z"
_PROTOCOLS = ("bprotocol/v2", "ncl/v1")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

VERSION: Json = {
    "Major": "0",
    "Minor": "0",
    "GitVersion": "v0.0.0-xxxxxxx",
    "GitCommit": "a" * 40,
    "BuildDate": "1970-01-01T00:00:00Z",
    "GOOS": platform.system().lower(),
    "GOARCH": _ARCHITECTURES.get(platform.machine(), platform.machine()),
}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What every compute node of this dev node can do."""

    engines: tuple[str, ...]
    storages: tuple[str, ...]
    publishers: tuple[str, ...]
    capacity: int

    def missing(self, task: Json) -> str:
        """Why a task cannot run on any node, or an empty text."""
        wanted = [(task["Engine"]["Type"], self.engines)]
        wanted += [
            (source["Source"]["Type"], self.storages) for source in sequence(task, "InputSources")
        ]
        if task["Publisher"]["Type"]:
            wanted.append((task["Publisher"]["Type"], self.publishers))
        for name, offered in wanted:
            if name.lower() not in offered:
                return f"does not support {name.lower()}, only {', '.join(offered)}"
        return ""


@dataclass(kw_only=True, slots=True, eq=False)
class Node:
    """One compute node: what it was sent, what waits in its queue, what runs."""

    id: str
    labels: dict[str, str]
    cut_off: bool = False  # no message passes, in either direction
    connected: bool = True  # what the orchestrator believes
    heartbeat: int = field(default_factory=now_ns)
    connected_since: int = field(default_factory=now_ns)
    disconnected_since: int = 0
    outbox: deque[Execution] = field(default_factory=deque[Execution])
    waiting: deque[Execution] = field(default_factory=deque[Execution])
    running: dict[str, Control] = field(default_factory=dict[str, Control])
    held: list[tuple[Execution, Outcome]] = field(default_factory=list[tuple[Execution, Outcome]])

    @property
    def load(self) -> int:
        """Executions that this node still has to end."""
        return len(self.outbox) + len(self.waiting) + len(self.running)

    def info(self, offer: Offer) -> Json:
        """The node as `/orchestrator/nodes` describes it."""
        capacity = {"CPU": offer.capacity * 0.5, "Memory": 2**32, "Disk": 2**36}
        return {
            "NodeID": self.id,
            "NodeType": "Compute",
            "Labels": self.labels,
            "SupportedProtocols": list(_PROTOCOLS),
            "ComputeNodeInfo": {
                "ExecutionEngines": list(offer.engines),
                "Publishers": list(offer.publishers),
                "StorageSources": list(offer.storages),
                "MaxCapacity": capacity,
                "QueueCapacity": {},
                "AvailableCapacity": capacity if self.connected else {},
                "MaxJobRequirements": capacity,
                "RunningExecutions": len(self.running),
                "EnqueuedExecutions": len(self.waiting),
                "address": "",
            },
            "BacalhauVersion": VERSION,
        }

    def render(self, offer: Offer) -> Json:
        """The node with its membership and connection."""
        status = "CONNECTED" if self.connected else "DISCONNECTED"
        heartbeat = self.heartbeat if self.cut_off else now_ns()
        connection: Json = {
            "Status": status,
            "LastHeartbeat": timestamp(heartbeat),
            "ConnectedSince": timestamp(self.connected_since),
            "DisconnectedSince": NEVER if self.connected else timestamp(self.disconnected_since),
        }
        if not self.connected:
            connection["LastError"] = "heartbeat timeout"
        return {
            "Info": self.info(offer),
            "Membership": "APPROVED",
            "Connection": status,
            "ConnectionState": connection,
        }


def requester(node_id: str, since: int) -> Json:
    """The orchestrator as it lists itself where it is no compute node."""
    nothing = dict.fromkeys(("ExecutionEngines", "Publishers", "StorageSources"))
    capacities = ("MaxCapacity", "QueueCapacity", "AvailableCapacity", "MaxJobRequirements")
    return {
        "Info": {
            "NodeID": node_id,
            "NodeType": "Requester",
            "Labels": node_labels(node_id, {}),
            "SupportedProtocols": list(_PROTOCOLS),
            "ComputeNodeInfo": {
                **nothing,
                **{name: {} for name in capacities},
                "RunningExecutions": 0,
                "EnqueuedExecutions": 0,
                "address": "",
            },
            "BacalhauVersion": VERSION,
        },
        "Membership": "APPROVED",
        "Connection": "CONNECTED",
        "ConnectionState": {
            "Status": "CONNECTED",
            "LastHeartbeat": timestamp(since),
            "ConnectedSince": timestamp(since),
            "DisconnectedSince": NEVER,
        },
    }


@dataclass(frozen=True, kw_only=True)
class Match:
    """The nodes that suit a job, best first, and why the others do not."""

    suitable: Sequence[Node]
    rejected: Sequence[tuple[Node, str]]

    @property
    def available(self) -> int:
        """Nodes that were asked at all."""
        return len(self.suitable) + len(self.rejected)

    def shortage(self, requested: int) -> str:
        """The node's message for too few suitable nodes; equal reasons are counted."""
        reasons = [(node, "") for node in self.suitable] + list(self.rejected)
        counts = Counter(reason for _, reason in reasons)
        counted = f"available: {self.available}, suitable: {len(self.suitable)}."
        lines = [f"not enough nodes to run job. requested: {requested}, {counted}"]
        for node, reason in reasons:
            count = counts.pop(reason, 0)
            if count == 1:
                lines.append(f"• Node {short_node_id(node.id)}: {reason}")
            elif count:
                lines.append(f"• {count} of {self.available} nodes: {reason}")
        return "\n".join(lines)


class Cluster:
    """All compute nodes."""

    def __init__(self, nodes: Iterable[Node], offer: Offer) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.offer = offer

    def match(self, spec: Json, earlier: Sequence[Execution]) -> Match:
        """Sorts the connected nodes by whether they suit; `earlier` are the job's executions."""
        required = selectors.constraints(spec["Constraints"])
        lacking = self.offer.missing(spec["Tasks"][0])
        tries = Counter(execution.node_id for execution in earlier)
        refusing = {e.node_id for e in earlier if e.compute == Compute.BID_REJECTED}
        suitable: list[Node] = []
        rejected: list[tuple[Node, str]] = []
        for node in self.nodes.values():
            if not node.connected:
                continue
            if lacking:
                rejected.append((node, lacking))
            elif not all(requirement.matches(node.labels) for requirement in required):
                rejected.append((node, _unmatched(node, required)))
            elif node.id in refusing:
                rejected.append((node, REJECTED))
            elif tries[node.id] >= TRIES_PER_NODE:
                rejected.append((node, RAN_TWICE))
            else:
                suitable.append(node)
        suitable.sort(key=lambda node: (tries[node.id], node.load))
        return Match(suitable=suitable, rejected=rejected)


def _unmatched(node: Node, required: Iterable[selectors.Requirement]) -> str:
    labels = " ".join(f"{key}:{value}" for key, value in sorted(node.labels.items()))
    wanted = " ".join(str(requirement) for requirement in required)
    return f"labels map[{labels}] don't match required selectors [{wanted}]"


def node_labels(node_id: str, labels: dict[str, str]) -> dict[str, str]:
    """A node's labels with those that every node has."""
    return {
        "name": node_id,
        "os_arch": str(VERSION["GOARCH"]),
        "os_type": str(VERSION["GOOS"]),
        **labels,
    }
