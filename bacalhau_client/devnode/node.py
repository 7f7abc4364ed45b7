"""The dev node as a whole: starts and stops it, and lets tests break it on purpose."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from .api import Application, Request
from .auth import Authorizer
from .cluster import Cluster, Node, Offer, node_labels
from .compute import ComputeNodes
from .config import DevNodeConfig
from .errors import node_not_found, unknown_path
from .executors import Executor
from .inputs import Inputs
from .journal import Journal
from .logs import LogBook
from .model import new_id
from .publish import Publisher
from .routes import Routes
from .runner import Runner
from .s3 import Access
from .scheduler import Scheduler
from .server import Server
from .store import Store

_T = TypeVar("_T")
_START_WITHIN = 30.0


class DevNode:
    """A local node with Bacalhau's HTTP API.

    `start` and `stop` may be called in any order and more than once; a node that was stopped can
    be started again and then goes on with the same jobs, at the same address. All methods may be
    called from any thread.
    """

    def __init__(self, config: DevNodeConfig) -> None:
        self.config = config
        self._lock = threading.RLock()
        self._port = config.port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._finish: asyncio.Event | None = None
        self._parts: _Parts | None = None

    @property
    def url(self) -> str:
        """`http://HOST:PORT`; the port is known after the first start."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"http://{host}:{self._port}"

    def start(self) -> DevNode:
        """Starts the node in a thread of its own and returns when it answers.

        Raises OSError where the address is taken.
        """
        with self._lock:
            if self._thread is not None:
                return self
            self._ready.clear()
            self._failure = None
            self._thread = threading.Thread(target=self._run, name="devnode", daemon=True)
            self._thread.start()
            self._ready.wait(_START_WITHIN)
            if self._failure is not None:
                failure, self._thread = self._failure, None
                raise failure
            return self

    def stop(self) -> None:
        """Kills the tasks, writes everything down and returns when all threads have ended."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            if self._loop is not None and self._finish is not None:
                self._loop.call_soon_threadsafe(self._finish.set)
            thread.join()

    def __enter__(self) -> DevNode:
        """Starts the node."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stops the node."""
        self.stop()

    def wait(self) -> None:
        """Returns when the node has been stopped."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def node_ids(self) -> list[str]:
        """The ids of the compute nodes, in the order of the configuration."""
        return list(self._running.cluster.nodes)

    def kill_compute_node(self, node_id: str) -> None:
        """Kills a compute node with its tasks; the cluster notices after `disconnect_after`."""
        self._call(self._running.cut_off(node_id, kill=True))

    def disconnect_compute_node(self, node_id: str) -> None:
        """Cuts a compute node off; its tasks go on, and nobody hears of it."""
        self._call(self._running.cut_off(node_id, kill=False))

    def bring_back_compute_node(self, node_id: str) -> None:
        """Connects a compute node again."""
        self._call(self._running.bring_back(node_id))

    def become_another_cluster(self) -> str:
        """Gives the orchestrator a new id, as if the address led elsewhere; returns the id."""
        return self._call(self._running.new_identity())

    def wipe(self) -> None:
        """Forgets all jobs, as a node whose store was lost."""
        self._call(self._running.wipe())

    @property
    def _running(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the dev node is not running; call start() first")
        return self._parts

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop is None:
            raise RuntimeError("the dev node is not running; call start() first")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_WITHIN)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in start
            self._failure = error
        finally:
            self._parts = self._loop = self._finish = None
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._finish = asyncio.get_running_loop(), asyncio.Event()
        parts = _Parts(self.config)
        try:
            server = Server(parts.application, self.config.host, self._port)
            await server.start()
            self._port, self._parts = server.port, parts
            self._ready.set()
            await self._finish.wait()
            await server.stop()
        finally:
            await asyncio.to_thread(parts.compute.close)
            await parts.close()


class _Parts:
    """Everything that makes up a running node; lives on the event loop's thread."""

    def __init__(self, config: DevNodeConfig) -> None:
        data_dir = config.data_dir.resolve()  # tasks are started in directories of their own
        self.store = Store(data_dir / "node.db")
        self.journal = Journal(self.store)
        access = Access(config.s3_credentials)
        executors = _executors(config)
        self.cluster = Cluster(self._nodes(config), _offer(config, executors, access))
        publisher = Publisher(data_dir / "results", access)
        self.runner = Runner(
            work=data_dir / "work",
            executors=executors,
            inputs=Inputs(config.local_allow, access, head_retry_wait=config.head_retry_wait),
            publisher=publisher,
            env_allow=config.env_allow,
        )
        logs = LogBook(data_dir / "logs", asyncio.get_running_loop())
        self.compute = ComputeNodes(
            self.cluster,
            self.journal,
            self.runner,
            logs,
            max_message_bytes=config.max_message_bytes,
            disconnect_after=config.disconnect_after,
        )
        self.scheduler = Scheduler(
            self.journal,
            self.cluster,
            self.compute,
            self.store.meta("orchestrator", self._orchestrator_id(config)),
            self.store.meta("instance", f"{new_id()}{new_id()}".replace("-", "")),
        )
        routes = Routes(
            self.journal,
            self.scheduler,
            self.cluster,
            logs,
            publisher,
            self._admin if config.admin else None,
        )
        self.application = Application(
            routes.route,
            routes.logs,
            Authorizer(config.users),
            max_body_bytes=config.max_body_bytes,
        )
        self.scheduler.recover(self.store.unfinished())

    def _nodes(self, config: DevNodeConfig) -> list[Node]:
        nodes: list[Node] = []
        for number, node in enumerate(config.nodes):
            node_id = self.store.meta(f"node-{number}", new_id("n-"))
            nodes.append(Node(id=node_id, labels=node_labels(node_id, dict(node.labels))))
        return nodes

    def _orchestrator_id(self, config: DevNodeConfig) -> str:
        """One process that is orchestrator and compute node has one id for both."""
        return next(iter(self.cluster.nodes)) if len(config.nodes) == 1 else new_id("n-")

    def _node(self, node_id: str) -> Node:
        node = self.cluster.nodes.get(node_id)
        if node is None:
            raise node_not_found(node_id)
        return node

    async def cut_off(self, node_id: str, *, kill: bool) -> None:
        self.compute.cut_off(self._node(node_id), kill=kill)

    async def bring_back(self, node_id: str) -> None:
        self.compute.bring_back(self._node(node_id))

    async def new_identity(self) -> str:
        self.scheduler.node_id = new_id("n-")
        self.store.set_meta("orchestrator", self.scheduler.node_id)
        return self.scheduler.node_id

    async def wipe(self) -> None:
        self.scheduler.stop_all()
        await self.journal.wipe()

    async def _admin(self, request: Request) -> str:
        """`PUT /api/v1/dev/nodes/ID/kill|disconnect|connect`, `…/dev/identity`, `…/dev/wipe`."""
        actions: dict[str, Callable[[str], Awaitable[object]]] = {
            "kill": lambda node_id: self.cut_off(node_id, kill=True),
            "disconnect": lambda node_id: self.cut_off(node_id, kill=False),
            "connect": self.bring_back,
        }
        match request.segments:
            case ["dev", "nodes", node_id, action] if action in actions:
                await actions[action](node_id)
            case ["dev", "identity"]:
                await self.new_identity()
            case ["dev", "wipe"]:
                await self.wipe()
            case _:
                raise unknown_path()
        return "{}"

    async def close(self) -> None:
        self.scheduler.close()
        await self.journal.committed()
        self.runner.close()
        self.store.close()


def _executors(config: DevNodeConfig) -> dict[str, Executor]:
    executors: dict[str, Executor] = {}
    if "wasm" in config.engines:
        from .executors.wasm import WasmExecutor

        executors["wasm"] = WasmExecutor()
    if "docker" in config.engines:
        from .executors.images import ImageExecutor

        docker = ImageExecutor(config.images, use_daemon=config.docker)
        if docker.available:
            executors["docker"] = docker
    return executors


def _offer(config: DevNodeConfig, executors: dict[str, Executor], access: Access) -> Offer:
    storages = ("localdirectory", "local", "inline", "urldownload")
    publishers = ("noop", "local")
    if access.available:
        storages, publishers = (*storages, "s3"), (*publishers, "s3")
    return Offer(
        engines=tuple(executors),
        storages=storages,
        publishers=publishers,
        capacity=config.capacity,
    )
