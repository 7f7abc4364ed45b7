"""From an execution to its outcome: environment, inputs, executor, publisher. Runs in threads."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .executors import Control, Executor, Mount, Stop, TaskFailed, TaskRun
from .inputs import Inputs
from .logs import LogWriter
from .model import Execution
from .publish import NOTHING, Publisher, result_mounts
from .spec import memory_bytes, task_of
from .states import Json, execution_failed, go_duration, mapping

_HOST_VARIABLE = "env:"


class BidRejected(Exception):
    """The compute node will not run the task at all; it is not tried there again."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A task that ended by itself."""

    output: str  # the rendered RunOutput
    published: str = NOTHING


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A task without an exit code."""

    message: str
    event: Json = field(default_factory=dict[str, object])


Outcome = Ended | Failed


def execution_timeout(task: Json) -> int:
    """Seconds that a task may run; TotalTimeout stands in for ExecutionTimeout, 0 is no limit."""
    limits: Json = task["Timeouts"]
    return int(limits.get("ExecutionTimeout") or limits.get("TotalTimeout") or 0)


class Runner:
    """Everything that a compute node does with an execution."""

    def __init__(
        self,
        *,
        work: Path,
        executors: Mapping[str, Executor],
        inputs: Inputs,
        publisher: Publisher,
        env_allow: Sequence[str],
    ) -> None:
        self._work = work
        self._executors = executors
        self._inputs = inputs
        self._publisher = publisher
        self._env_allow = [re.compile(pattern) for pattern in env_allow]

    def slow_to_check(self, task: Json) -> bool:
        """Whether `check` asks someone else, and so does not belong on the event loop."""
        return task["Engine"]["Type"].lower() == "docker" or self._inputs.need_network(task)

    def check(self, task: Json) -> None:
        """The compute node's answer to a bid: raises BidRejected or TaskFailed."""
        self._environment(task)
        self._executors[task["Engine"]["Type"].lower()].check(task)
        self._inputs.check(task)

    def run(self, execution: Execution, spec: Json, log: LogWriter, control: Control) -> Outcome:
        """Runs a task to its end. Never raises."""
        task = task_of(spec)
        try:
            return self._run(execution, spec, task, log, control)
        except TaskFailed as error:
            if control.stop_reason is Stop.TIMEOUT:
                return _timed_out(task)
            event = execution_failed(error.message, error.topic, error.details)
            return Failed(message=error.message, event=event)
        except Exception as error:  # noqa: BLE001 - an execution must end, whatever it met
            message = f"executor failed with an internal error: {error!r}"
            return Failed(message=message, event=execution_failed(message, "Running Execution"))
        finally:
            log.close()
            shutil.rmtree(self._work / execution.id, ignore_errors=True)

    def _run(
        self, execution: Execution, spec: Json, task: Json, log: LogWriter, control: Control
    ) -> Outcome:
        engine = task["Engine"]["Type"].lower()
        directory = self._work / execution.id
        module, entry = None, ""
        if engine == "wasm":
            entry = str(task["Engine"]["Params"]["EntryModule"])
            module = self._inputs.inline_module(task, entry)
        # An inline module is only for the engine: most tasks then need no files at all.
        mounts = self._inputs.lay_out(
            task, directory / "root", leave_out=entry if module is not None else ""
        )
        if entry and module is None:
            module = _module_among(mounts, entry)
        mounts += result_mounts(task, directory)
        environment = self._environment(task) | {
            "BACALHAU_JOB_ID": execution.job_id,
            "BACALHAU_EXECUTION_ID": execution.id,
            "BACALHAU_JOB_TYPE": spec["Type"],
            "BACALHAU_PARTITION_INDEX": str(execution.partition),
            "BACALHAU_PARTITION_COUNT": str(spec["Count"]),
        }
        run = TaskRun(
            execution_id=execution.id,
            task=task,
            environment=environment,
            memory_bytes=memory_bytes(task),
            directory=directory,
            log=log,
            control=control,
            mounts=tuple(mounts),
            module=module or b"",
        )
        code = self._executors[engine].run(run)
        if control.stop_reason is Stop.TIMEOUT:
            return _timed_out(task)
        names = {"jobID": execution.job_id, "executionID": execution.id}
        published = self._publisher.publish(task, names, directory, log, code)
        return Ended(output=log.render(code), published=published)

    def _environment(self, task: Json) -> dict[str, str]:
        return {
            name: self._resolved(name, str(value)) for name, value in mapping(task, "Env").items()
        }

    def _resolved(self, name: str, value: str) -> str:
        if not value.startswith(_HOST_VARIABLE):
            return value
        variable = value.removeprefix(_HOST_VARIABLE)
        reason = f"this node does not resolve environment variable {name}: environment variable"
        if not any(pattern.search(variable) for pattern in self._env_allow):
            raise BidRejected(f"{reason} '{variable}' is not in allowed patterns")
        if variable not in os.environ:
            raise TaskFailed(f"environment variable '{variable}' not found")
        return os.environ[variable]

    def close(self) -> None:
        """Frees what the executors hold."""
        for executor in self._executors.values():
            executor.close()


def _module_among(mounts: Sequence[Mount], entry: str) -> bytes:
    for mount in mounts:
        if mount.target == entry and mount.source.is_file():
            return mount.source.read_bytes()
    raise TaskFailed(f"failed to load entry module {entry}: file does not exist")


def _timed_out(task: Json) -> Failed:
    message = f"Execution timed out after {go_duration(execution_timeout(task))}"
    return Failed(message=message, event=execution_failed(message, "Running Execution"))
