"""Runs WASM tasks with wasmtime: an engine for each running task, so that each can be ended alone.

An engine's epoch is the only thing that stops a running module from outside, and it stops all
modules of that engine. Engines are pooled, and modules are compiled once and then loaded into
whichever engine needs them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import wasmtime

from ..logs import STDERR, STDOUT
from ..states import Json, mapping, sequence
from . import Mount, Stop, TaskFailed, TaskRun
from .wasi import Exited, define_wasi
from .wasmfile import BadModule, ModuleNames, read_names

RETURNED = -1
"""The exit code of a task whose function returned instead of calling `proc_exit`."""

_MODULES_PER_ENGINE = 8
_COMPILED_BYTES = 128 * 1024 * 1024
_TRAPS = {
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
    wasmtime.TrapCode.STACK_OVERFLOW: "stack overflow",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "out of bounds memory access",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "invalid table access",
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: "invalid table access",
    wasmtime.TrapCode.BAD_SIGNATURE: "indirect call type mismatch",
    wasmtime.TrapCode.INTEGER_OVERFLOW: "integer overflow",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer divide by zero",
    wasmtime.TrapCode.BAD_CONVERSION_TO_INTEGER: "invalid conversion to integer",
}


@dataclass(kw_only=True, eq=False)
class _Slot:
    """An engine with what is loaded into it; one task uses it at a time."""

    engine: wasmtime.Engine
    linker: wasmtime.Linker
    modules: OrderedDict[str, wasmtime.Module] = field(
        default_factory=OrderedDict[str, wasmtime.Module]
    )
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass(kw_only=True)
class _Compiled:
    """A module that was read and compiled once; `code` is empty until then."""

    names: ModuleNames
    code: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)


class WasmExecutor:
    """Runs modules with WASI preview 1."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Every call into wasmtime lets go of the interpreter's lock; threads that prepare their
        # stores at the same time spend most of it on taking the lock from each other.
        self._one_at_a_time = threading.Lock()
        self._idle: list[_Slot] = []
        self._compiled: OrderedDict[str, _Compiled] = OrderedDict()

    def check(self, task: Json) -> None:
        """Raises TaskFailed where the task names no module."""
        if not mapping(task["Engine"], "Params").get("EntryModule"):
            raise TaskFailed("invalid wasm engine entry module. target path cannot be empty")

    def close(self) -> None:
        """Frees the engines that nobody uses."""
        with self._lock:
            self._idle.clear()

    def run(self, run: TaskRun) -> int:
        """Runs the entry module's function to its end; raises TaskFailed."""
        parameters: Json = run.task["Engine"]["Params"]
        digest = hashlib.sha256(run.module).hexdigest()
        compiled = self._names(digest, run.module, parameters["EntryModule"])
        slot = self._take(digest)
        slot.stopping = run.control.stopping
        try:
            module = self._load(slot, digest, compiled, run.module, parameters["EntryModule"])
            return self._call(slot, module, compiled.names, run, parameters)
        finally:
            run.control.on_stop(None)
            with self._lock:
                self._idle.append(slot)

    def _names(self, digest: str, module: bytes, path: str) -> _Compiled:
        with self._lock:
            compiled = self._compiled.get(digest)
            if compiled is not None:
                self._compiled.move_to_end(digest)
                return compiled
        try:
            names = read_names(module)
        except BadModule as error:
            raise TaskFailed(f"failed to load entry module {path}: {error}") from error
        if not names.has_name_section:
            raise TaskFailed(f"failed to load entry module {path}: Name section not found")
        with self._lock:
            return self._compiled.setdefault(digest, _Compiled(names=names))

    def _take(self, digest: str) -> _Slot:
        with self._lock:
            for number, slot in enumerate(self._idle):
                if digest in slot.modules:
                    return self._idle.pop(number)
            if self._idle:
                return self._idle.pop()
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.parallel_compilation = False
        engine = wasmtime.Engine(config)
        linker = wasmtime.Linker(engine)
        slot = _Slot(engine=engine, linker=linker)
        define_wasi(linker, lambda: slot.stopping)
        return slot

    def _load(
        self, slot: _Slot, digest: str, compiled: _Compiled, module: bytes, path: str
    ) -> wasmtime.Module:
        loaded = slot.modules.get(digest)
        if loaded is None:
            try:
                with compiled.lock:
                    if not compiled.code:
                        loaded = wasmtime.Module(slot.engine, module)
                        compiled.code = bytes(loaded.serialize())
                if loaded is None:
                    loaded = wasmtime.Module.deserialize(slot.engine, compiled.code)
            except wasmtime.WasmtimeError as error:
                raise TaskFailed(
                    f"failed to load entry module {path}: {_first_line(error)}"
                ) from error
            slot.modules[digest] = loaded
            self._forget(slot)
        slot.modules.move_to_end(digest)
        return loaded

    def _forget(self, slot: _Slot) -> None:
        while len(slot.modules) > _MODULES_PER_ENGINE:
            slot.modules.popitem(last=False)
        with self._lock:
            total = sum(len(compiled.code) for compiled in self._compiled.values())
            while total > _COMPILED_BYTES and len(self._compiled) > 1:
                total -= len(self._compiled.popitem(last=False)[1].code)

    def _call(
        self,
        slot: _Slot,
        module: wasmtime.Module,
        names: ModuleNames,
        run: TaskRun,
        parameters: Json,
    ) -> int:
        entrypoint = parameters.get("Entrypoint") or "_start"
        with self._one_at_a_time:
            store = wasmtime.Store(slot.engine)
            if run.memory_bytes:
                store.set_limits(memory_size=run.memory_bytes)
            arguments = [str(value) for value in sequence(parameters, "Parameters")]
            store.set_wasi(_wasi(run, arguments))
            store.set_epoch_deadline(1)
        run.control.on_stop(lambda reason: slot.engine.increment_epoch())
        try:
            instance = slot.linker.instantiate(store, module)
            function: Any = instance.exports(store).get(entrypoint)
            if not isinstance(function, wasmtime.Func):
                raise TaskFailed(f"unable to find the entrypoint '{entrypoint}' in the WASM module")
            function(store)
        except Exited as exited:
            return exited.code
        except wasmtime.Trap as trap:
            raise _failure(trap, names, run) from trap
        except wasmtime.WasmtimeError as error:
            if run.control.stop_reason is not None:
                raise TaskFailed("interrupted") from error
            path = parameters["EntryModule"]
            raise TaskFailed(f"failed to load entry module {path}: {_first_line(error)}") from error
        finally:
            run.control.on_stop(None)
            with self._one_at_a_time:
                store.close()
        return RETURNED


def _wasi(run: TaskRun, parameters: list[str]) -> wasmtime.WasiConfig:
    wasi = wasmtime.WasiConfig()
    # A real node starts the arguments with an empty name, and sorts the environment.
    wasi.argv = ["", *parameters]
    wasi.env = sorted(run.environment.items())

    def to_stdout(data: bytes) -> None:
        run.log.write(STDOUT, data)

    def to_stderr(data: bytes) -> None:
        run.log.write(STDERR, data)

    wasi.stdout_custom, wasi.stderr_custom = to_stdout, to_stderr
    tree = run.directory / "root"
    if tree.is_dir():
        wasi.preopen_dir(str(tree), "/", False)
    for mount in run.mounts:
        if _preopened(mount, run):
            wasi.preopen_dir(str(mount.source), mount.target, mount.writable)
    return wasi


def _preopened(mount: Mount, run: TaskRun) -> bool:
    """Directories outside the task's own tree, and those that it may write to."""
    return mount.source.is_dir() and (
        mount.writable or not mount.source.is_relative_to(run.directory)
    )


def _failure(trap: wasmtime.Trap, names: ModuleNames, run: TaskRun) -> TaskFailed:
    if trap.trap_code == wasmtime.TrapCode.INTERRUPT or run.control.stop_reason is Stop.TIMEOUT:
        return TaskFailed("interrupted")
    code = trap.trap_code
    words = _TRAPS.get(code, "unknown") if code is not None else _first_line(trap)
    frames = "".join(f"\n\t{names.frame(frame.func_index)}" for frame in trap.frames)
    return TaskFailed(f"wasm error: {words}\nwasm stack trace:{frames}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
