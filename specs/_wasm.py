"""Local WebAssembly modules become inline input sources, so that a spec is whole by itself."""

from __future__ import annotations

import base64
import binascii
import os
import posixpath
import stat
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

from specs._problems import Path, nearest, quoted
from specs._shapes import items, mapping

MAX_MODULE = 640 * 1024
"""Largest module that is read: in base64 it still fits below the hard cap of a spec."""

MEDIA_TYPE = "application/wasm"
_HEAD = b"\0asm\x01\0\0\0"

Report = Callable[[Path, str, str], None]


class ModuleError(ValueError):
    """A file that is no module the node would run; the text says why and what to do."""


def inline_modules(job: Mapping[str, Any], base_dir: FilePath | None, report: Report) -> Any:
    """Return the job with each local module of a WASM task read in; other jobs as they are.

    Paths are relative to `base_dir`; without one nothing is read.
    """
    tasks = items(job.get("Tasks"))
    task = mapping(tasks[0] if tasks else None)
    engine = mapping(task.get("Engine"))
    params = mapping(engine.get("Params"))
    if str(engine.get("Type")).strip().casefold() != "wasm":
        return job
    inputs = list(items(task.get("InputSources")))
    base: Path = ("Tasks", 0, "Engine", "Params")
    inliner = _Inliner(inputs, base_dir, report)
    changed: dict[str, Any] = {}
    if isinstance(params.get("EntryModule"), str) and params["EntryModule"]:
        target = inliner.target(params["EntryModule"], (*base, "EntryModule"), "/task")
        changed["EntryModule"] = target
    if "ImportModules" in params:
        changed["ImportModules"] = [
            inliner.target(item, (*base, "ImportModules", index), f"/import-{index}")
            if isinstance(item, str)
            else item
            for index, item in enumerate(items(params["ImportModules"]))
        ]
    if len(inputs) == len(items(task.get("InputSources"))):
        return job
    new_engine = {**engine, "Params": {**params, **changed}}
    new_task = {**task, "Engine": new_engine, "InputSources": inputs}
    return {**job, "Tasks": [new_task, *tasks[1:]]}


class _Inliner:
    def __init__(self, inputs: list[Any], base_dir: FilePath | None, report: Report) -> None:
        self.inputs = inputs
        self.base_dir = base_dir
        self.report = report
        self.targets = {
            posixpath.normpath(str(mapping(item).get("Target"))): index
            for index, item in enumerate(inputs)
        }

    def target(self, module: str, path: Path, wanted: str) -> str:
        """Return the input target of a module, reading it in where it is a local file."""
        index = self.targets.get(posixpath.normpath(module)) if module.startswith("/") else None
        if index is not None:
            self.check_inline(index, path)
            return module
        if self.base_dir is None or (module.startswith("/") and not os.path.lexists(module)):
            self.missing(module, path)
            return module
        try:
            data = read_module(self.base_dir / module)
        except ModuleError as error:
            message, _, remedy = str(error).partition(". ")
            self.report(path, message, remedy)
            return module
        target, number = f"{wanted}.wasm", 1
        while target in self.targets:
            target, number = f"{wanted}-{number}.wasm", number + 1
        self.targets[target] = len(self.inputs)
        self.inputs.append(inline_source(target, data, MEDIA_TYPE))
        return target

    def missing(self, module: str, path: Path) -> None:
        message = f"no input source has the target {quoted(module)}"
        found = nearest(module, self.targets)
        if not module.startswith("/"):
            message = f"{quoted(module)} is a local file, and local files cannot be read here"
            remedy = "Register the file with the command line, which reads the module in"
        elif found:
            remedy = f"Did you mean {found!r}?"
        else:
            remedy = "Add one, or name a local file such as ./task.wasm"
        self.report(path, message, remedy)

    def check_inline(self, index: int, path: Path) -> None:
        source = mapping(mapping(self.inputs[index]).get("Source"))
        url = mapping(source.get("Params")).get("URL")
        if str(source.get("Type")).strip().casefold() != "inline" or not isinstance(url, str):
            return
        head, _, payload = url.partition(",")
        if not head.endswith(";base64") or "gzip" in head:
            return
        place: Path = ("Tasks", 0, "InputSources", index, "Source", "Params", "URL")
        try:
            check_module(base64.b64decode(payload, validate=True))
        except binascii.Error:
            self.report(place, "this is not base64", "Encode the module again")
        except ModuleError as error:
            message, _, remedy = str(error).partition(". ")
            self.report(path, message, remedy)


def inline_source(target: str, data: bytes, media_type: str) -> dict[str, Any]:
    """Make an input source that carries its data in itself."""
    url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return {"Target": target, "Source": {"Type": "inline", "Params": {"URL": url}}}


def read_module(path: FilePath) -> bytes:
    """Read a module that the node will run. Raises ModuleError."""
    try:
        # Not blocking: opening a pipe would otherwise wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ModuleError(
            f"{os.fspath(path)!r} cannot be read ({reason}). "
            "The path is relative to the file that names it"
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ModuleError(f"{os.fspath(path)!r} is not a regular file. Name a .wasm file")
        if status.st_size > MAX_MODULE:
            raise ModuleError(
                f"the module has {status.st_size:,} bytes, more than {MAX_MODULE:,}. "
                "Build it with -Os, or give it by an s3 input source and name its target"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_MODULE + 1)
    finally:
        os.close(descriptor)
    check_module(data)
    return data


def check_module(data: bytes) -> None:
    """Check that these bytes are a module with a name section. Raises ModuleError."""
    if data[:4] != _HEAD[:4]:
        raise ModuleError("not a WebAssembly module. Compile it for wasm32-wasi first")
    if data[4:8] != _HEAD[4:]:
        raise ModuleError(
            "a WebAssembly component, or another version than 1. Build a core module (wasip1)"
        )
    at = len(_HEAD)
    while at < len(data):
        kind = data[at]
        size, start = _leb128(data, at + 1)
        at = start + size
        if at > len(data):
            raise ModuleError("the module is cut off. Compile or copy it again")
        if kind == 0:
            length, name = _leb128(data, start)
            if data[name : name + length] == b"name":
                return
    raise ModuleError(
        "the module has no name section, and the node refuses it then. Link without "
        "-s and --strip-all; to make it small strip debug sections only (--strip-debug)"
    )


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ModuleError("the module is cut off. Compile or copy it again")
