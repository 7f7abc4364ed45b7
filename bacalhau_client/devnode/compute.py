"""The compute nodes at work: the bus that reaches them, their bids, their queues, their tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from .cluster import Cluster, Node
from .executors import Control, Stop, TaskFailed
from .journal import Journal
from .logs import LogBook
from .model import Execution, now_ns
from .runner import BidRejected, Outcome, Runner, execution_timeout
from .spec import task_of
from .states import Json

MESSAGE_OVERHEAD = 48_576
"""What a message holds beside the job's spec. Measured on a real node: 960 kB of spec went
through, 1,000 kB did not, with a limit of 1 MiB."""

_CHECKERS = 4

_T = TypeVar("_T")
Refusal = BidRejected | TaskFailed


@dataclass(frozen=True, kw_only=True)
class _Callbacks:
    on_answer: Callable[[Execution, Refusal | None], bool]
    on_end: Callable[[Execution, Outcome], None]
    on_lost: Callable[[Sequence[Execution]], None]
    on_back: Callable[[], None]


class ComputeNodes:
    """Runs executions on the simulated nodes; callbacks come on the event loop's thread."""

    def __init__(
        self,
        cluster: Cluster,
        journal: Journal,
        runner: Runner,
        logs: LogBook,
        *,
        max_message_bytes: int,
        disconnect_after: float,
    ) -> None:
        self._cluster = cluster
        self._journal = journal
        self._runner = runner
        self._logs = logs
        self._max_message = max_message_bytes
        self._disconnect_after = disconnect_after
        self._loop = asyncio.get_running_loop()
        workers = cluster.offer.capacity * len(cluster.nodes)
        self._tasks = ThreadPoolExecutor(workers, "devnode-task")
        self._checks = ThreadPoolExecutor(_CHECKERS, "devnode-check")
        self._timers: set[asyncio.TimerHandle] = set()
        self._callbacks: _Callbacks | None = None
        self._closed = False

    def connect(
        self,
        *,
        on_answer: Callable[[Execution, Refusal | None], bool],
        on_end: Callable[[Execution, Outcome], None],
        on_lost: Callable[[Sequence[Execution]], None],
        on_back: Callable[[], None],
    ) -> None:
        """Names who is told what happens on the nodes."""
        self._callbacks = _Callbacks(
            on_answer=on_answer, on_end=on_end, on_lost=on_lost, on_back=on_back
        )

    @property
    def _tell(self) -> _Callbacks:
        if self._callbacks is None:
            raise RuntimeError("connect() comes before the first execution")
        return self._callbacks

    def send(self, execution: Execution) -> None:
        """Puts an execution on the bus to its node; `deliver_all` moves the bus."""
        self._cluster.nodes[execution.node_id].outbox.append(execution)

    def deliver_all(self) -> None:
        """Delivers what the bus holds, for every node that can be reached."""
        for node in self._cluster.nodes.values():
            self._deliver(node)

    def _deliver(self, node: Node) -> None:
        while node.outbox and not node.cut_off:
            execution = node.outbox[0]
            if not execution.terminal and self._too_large(execution):
                return  # the message fits in no packet, and all others wait behind it
            node.outbox.popleft()
            if not execution.terminal:
                self._bid(node, execution)

    def _too_large(self, execution: Execution) -> bool:
        job = self._journal.jobs.get(execution.job_id)
        limit = self._max_message
        return bool(limit) and job is not None and job.size + MESSAGE_OVERHEAD >= limit

    def _spec(self, execution: Execution) -> Json:
        return self._journal.detail(self._journal.jobs[execution.job_id]).spec

    def _bid(self, node: Node, execution: Execution) -> None:
        task = task_of(self._spec(execution))
        if not self._runner.slow_to_check(task):
            self._answer(node, execution, self._check(task))
            return
        check = self._checks.submit(self._check, task)
        check.add_done_callback(
            lambda done: self._from_thread(self._answer, node, execution, _result(done))
        )

    def _check(self, task: Json) -> Refusal | None:
        try:
            self._runner.check(task)
        except (BidRejected, TaskFailed) as refusal:
            return refusal
        except Exception as error:  # noqa: BLE001 - a bid must be answered
            return TaskFailed(f"executor failed with an internal error: {error!r}")
        return None

    def _answer(self, node: Node, execution: Execution, refusal: Refusal | None) -> None:
        if node.cut_off or not node.connected:
            return
        if self._tell.on_answer(execution, refusal):
            node.waiting.append(execution)
            self._start_waiting(node)

    def _start_waiting(self, node: Node) -> None:
        while node.waiting and len(node.running) < self._cluster.offer.capacity:
            execution = node.waiting.popleft()
            if not execution.terminal and not self._closed:
                self._start(node, execution)

    def _start(self, node: Node, execution: Execution) -> None:
        control = Control()
        node.running[execution.id] = control
        spec = self._spec(execution)
        task = task_of(spec)
        first_only = task["Engine"]["Type"].lower() == "wasm"
        log = self._logs.writer(execution.id, first_write_only=first_only)
        timer = None
        if limit := execution_timeout(task):
            timer = self._loop.call_later(limit, control.stop, Stop.TIMEOUT)
        run = self._tasks.submit(self._runner.run, execution, spec, log, control)
        run.add_done_callback(
            lambda done: self._from_thread(self._finished, node, execution, timer, _result(done))
        )

    def _finished(
        self,
        node: Node,
        execution: Execution,
        timer: asyncio.TimerHandle | None,
        outcome: Outcome | None,
    ) -> None:
        if timer is not None:
            timer.cancel()
        self._logs.finish(execution.id)
        control = node.running.pop(execution.id, None)
        shut_down = control is None or control.stop_reason is Stop.SHUTDOWN
        if outcome is not None and not shut_down:
            if node.cut_off:
                node.held.append((execution, outcome))
            else:
                self._tell.on_end(execution, outcome)
        self._start_waiting(node)

    def stop(self, execution: Execution, reason: Stop) -> None:
        """Ends an execution's task, where it runs and can be reached."""
        node = self._cluster.nodes.get(execution.node_id)
        if node is None or node.cut_off:
            return
        control = node.running.get(execution.id)
        if control is not None:
            control.stop(reason)

    def cut_off(self, node: Node, *, kill: bool) -> None:
        """Cuts a node off; with `kill` its tasks die with it, otherwise they go on unseen."""
        if node.cut_off:
            return
        node.cut_off, node.heartbeat = True, now_ns()
        if kill:
            node.waiting.clear()
            for control in list(node.running.values()):
                control.stop(Stop.SHUTDOWN)
        timer = self._loop.call_later(self._disconnect_after, self._miss, node, node.heartbeat)
        self._timers.add(timer)

    def _miss(self, node: Node, heartbeat: int) -> None:
        """The heartbeats of a node have been missing for too long."""
        if not node.cut_off or node.heartbeat != heartbeat:
            return
        node.connected, node.disconnected_since = False, now_ns()
        node.outbox.clear()
        lost = [
            execution
            for job in self._journal.unfinished()
            for execution in self._journal.detail(job).executions
            if execution.node_id == node.id and not execution.terminal
        ]
        self._tell.on_lost(lost)
        self.deliver_all()

    def bring_back(self, node: Node) -> None:
        """Connects a node again; what ended on it meanwhile is reported now."""
        if not node.cut_off:
            return
        node.cut_off = False
        if not node.connected:
            node.connected, node.connected_since = True, now_ns()
        held, node.held = node.held, []
        for execution, outcome in held:
            self._tell.on_end(execution, outcome)
        self._tell.on_back()
        self.deliver_all()

    def _from_thread(self, call: Callable[..., None], *values: object) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(call, *values)

    def close(self) -> None:
        """Kills all tasks and waits for their threads."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        for node in self._cluster.nodes.values():
            node.waiting.clear()
            for control in list(node.running.values()):
                control.stop(Stop.SHUTDOWN)
        self._tasks.shutdown(wait=True, cancel_futures=True)
        self._checks.shutdown(wait=True, cancel_futures=True)


def _result(done: Future[_T]) -> _T | None:
    return None if done.cancelled() else done.result()
