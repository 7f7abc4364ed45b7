"""Two functions of WASI that wasmtime has otherwise than a real node needs.

Its `poll_oneoff` sleeps to the end of its time, whatever happens; this one ends with a stop. Its
`proc_exit` refuses codes above 125; this one takes all.

https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#poll_oneoff
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import wasmtime

_MODULE = "wasi_snapshot_preview1"
_SUBSCRIPTION, _EVENT = 48, 32
_CLOCK = 0
_ABSOLUTE = 1
_REALTIME = 0
_SUCCESS, _INVALID = 0, 28


class Exited(Exception):
    """The module called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit {code}")
        self.code = code


def define_wasi(linker: wasmtime.Linker, stopping: Callable[[], threading.Event]) -> None:
    """WASI preview 1 for a linker; `stopping` gives the event that ends a wait early.

    File descriptors are always ready: a task has only files and its output.
    """

    def poll(caller: Any, source: int, target: int, count: int, stored: int) -> int:
        memory: Any = caller.get("memory")
        if not isinstance(memory, wasmtime.Memory) or count == 0:
            return _INVALID
        waits: list[float | None] = []
        events: list[bytes] = []
        for number in range(count):
            start = source + number * _SUBSCRIPTION
            data = bytes(memory.read(caller, start, start + _SUBSCRIPTION))
            userdata, kind = struct.unpack_from("<QB", data)
            waits.append(_seconds(data) if kind == _CLOCK else None)
            events.append(struct.pack("<QHB", userdata, _SUCCESS, kind).ljust(_EVENT, b"\0"))
        clocks = [wait for wait in waits if wait is not None]
        shortest = min(clocks) if len(clocks) == len(waits) else 0.0
        if shortest > 0:
            stopping().wait(shortest)
        due = [
            event
            for event, wait in zip(events, waits, strict=True)
            if wait is None or wait <= shortest
        ]
        memory.write(caller, b"".join(due), target)
        memory.write(caller, struct.pack("<I", len(due)), stored)
        return _SUCCESS

    def exit_(code: int) -> None:
        raise Exited(code & 0xFFFFFFFF)

    linker.define_wasi()
    i32 = wasmtime.ValType.i32
    kind = wasmtime.FuncType([i32(), i32(), i32(), i32()], [i32()])
    linker.allow_shadowing = True
    linker.define_func(_MODULE, "poll_oneoff", kind, poll, access_caller=True)
    linker.define_func(_MODULE, "proc_exit", wasmtime.FuncType([i32()], []), exit_)


def _seconds(subscription: bytes) -> float:
    clock, timeout, _, flags = struct.unpack_from("<I4xQQH", subscription, 16)
    if flags & _ABSOLUTE:
        now = time.time_ns() if clock == _REALTIME else time.monotonic_ns()
        return max(0.0, (timeout - now) / 1e9)
    return timeout / 1e9
