"""The nodes of a cluster, and the agent that answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from bacalhau_client._build import build_node, build_node_info, build_page, build_version
from bacalhau_client._models import Page
from bacalhau_client._nodes import Node, NodeInfo, Version
from bacalhau_client._pages import walk
from bacalhau_client._parse import Fields, ShapeError
from bacalhau_client._transport import Transport, item_path


class Nodes:
    """The calls under ``/api/v1/orchestrator/nodes``; reached as ``BacalhauClient.nodes``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        limit: int | None = None,
        next_token: str | None = None,
        order_by: str | None = None,
        reverse: bool = False,
        approval: str | None = None,
        status: str | None = None,
    ) -> Page[Node]:
        """One page of nodes; ``approval`` and ``status`` filter (``approved``, ``connected``)."""
        params = {
            "limit": limit,
            "next_token": next_token or None,
            "order_by": order_by,
            "reverse": reverse or None,
            "filter_approval": approval,
            "filter-status": status,
        }
        path = "/api/v1/orchestrator/nodes"
        return self._transport.read(path, params, lambda f: build_page(f, build_node, "Nodes"))

    def iterate(self) -> Iterator[Node]:
        """All nodes, page by page."""
        return walk(lambda token: self.list(next_token=token))

    def get(self, node: str) -> Node:
        """A node by its id, or an unambiguous beginning of it."""
        return self._transport.read(item_path("nodes", "node id", node), None, _build_one)


class Agent:
    """The calls under ``/api/v1/agent``; reached as ``BacalhauClient.agent``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def alive(self) -> bool:
        """True if the node says that it is up. Needs no credentials, even where others do."""
        return self._transport.read("/api/v1/agent/alive", None, _build_alive)

    def version(self) -> Version:
        """The node's build."""
        return self._transport.read("/api/v1/agent/version", None, build_version)

    def node(self) -> NodeInfo:
        """The node that answers, as it describes itself."""
        return self._transport.read("/api/v1/agent/node", None, build_node_info)

    def config(self) -> Mapping[str, Any]:
        """The node's settings as JSON, in whatever form its version has; may hold secrets."""
        return self._transport.read("/api/v1/agent/config", None, lambda f: f.raw)


def _build_one(f: Fields) -> Node:
    node = f.optional("Node")
    if node is None:
        raise ShapeError(f"{f.where}.Node: missing")
    return build_node(node)


def _build_alive(f: Fields) -> bool:
    return f.needed("Status").upper() == "OK"
