"""WASM modules: read, checked and inlined; the sample tasks and the library."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
from pathlib import Path

import pytest
import wasmtime

import specs

SETTINGS = {"cron": ("schedule", "every", "at", "timezone")}
HELLO = specs.task_path("hello")


def trigger(module: str = "./hello.wasm", **more) -> specs.TriggerFile:
    """A trigger whose task runs this module."""
    params = {"EntryModule": module, **more.pop("params", {})}
    task = {"Name": "m", "Engine": {"Type": "wasm", "Params": params}, **more}
    data = {"apiVersion": "orch/v1", "kind": "cron", "name": "t", "every": "5s"}
    document = specs.from_data({**data, "job": {"Type": "batch", "Tasks": [task]}})
    return specs.parse_trigger(document, settings=SETTINGS.get)


def inline(data: bytes, target: str = "/m.wasm") -> dict:
    """An input source with a module in it."""
    url = f"data:application/wasm;base64,{base64.b64encode(data).decode()}"
    return {"Target": target, "Source": {"Type": "inline", "Params": {"URL": url}}}


@pytest.fixture
def directory(tmp_path) -> Path:
    """A directory with a good module."""
    (tmp_path / "hello.wasm").write_bytes(HELLO.read_bytes())
    return tmp_path


def test_local_module_is_inlined(directory):
    """A local module becomes an input source, and the entry module its target."""
    original = trigger()
    job = specs.prepare(original, base_dir=directory)
    task = job["Tasks"][0]
    assert task["Engine"]["Params"]["EntryModule"] == "/task.wasm"
    assert task["InputSources"] == [inline(HELLO.read_bytes(), "/task.wasm")]
    assert original.job["Tasks"][0]["Engine"]["Params"]["EntryModule"] == "./hello.wasm"


def test_absolute_local_path(directory):
    """An absolute path that is no target and exists here is read as well."""
    job = specs.prepare(trigger(str(directory / "hello.wasm")), base_dir=directory)
    assert job["Tasks"][0]["Engine"]["Params"]["EntryModule"] == "/task.wasm"


def test_prepared_job_is_prepared_again(directory):
    """What the command line prepared is taken by a server that reads no files."""
    job = specs.prepare(trigger(), base_dir=directory)
    data = {**trigger().to_json(), "job": job}
    again = specs.parse_trigger(specs.from_data(data), settings=SETTINGS.get)
    assert specs.prepare(again, base_dir=None) == job


def test_targets_do_not_collide(directory):
    """A module of ours takes a target that the task does not use, imports included."""
    job = specs.prepare(
        trigger(
            params={"ImportModules": ["hello.wasm", "/task.wasm"]},
            InputSources=[inline(HELLO.read_bytes(), "/task.wasm")],
        ),
        base_dir=directory,
    )
    task = job["Tasks"][0]
    assert task["Engine"]["Params"]["EntryModule"] == "/task-1.wasm"
    assert task["Engine"]["Params"]["ImportModules"] == ["/import-0.wasm", "/task.wasm"]
    assert [s["Target"] for s in task["InputSources"]] == [
        "/task.wasm",
        "/task-1.wasm",
        "/import-0.wasm",
    ]


def test_a_server_reads_no_files():
    """Without a directory no local file is read, whatever its path."""
    for path in ("./hello.wasm", "hello.wasm", "../hello.wasm", str(HELLO), "/etc/passwd"):
        with pytest.raises(specs.SpecError, match=r"cannot be read here|no input source"):
            specs.prepare(trigger(path), base_dir=None)


def named(module: bytes) -> bytes:
    """The module with an empty name section."""
    return module + b"\0\x05\x04name"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a WebAssembly module"),
        (b"#!/bin/sh\n", "not a WebAssembly module"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (b"\0asm\x01\0\0\0", "name section.*--strip-debug"),
        (b"\0asm\x01\0\0\0\x01\xff", "cut off"),
        (b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff", "cut off"),
        (b"\0asm\x01\0\0\0\0\x06\x05names", "name section"),
        (named(b"\0asm\x01\0\0\0") + b"\0" * 700_000, "more than"),
    ],
)
def test_files_that_are_no_modules(data, words, tmp_path):
    """A file that the node would refuse is refused first, with what to do."""
    (tmp_path / "hello.wasm").write_bytes(data)
    with pytest.raises(specs.SpecError, match=words):
        specs.prepare(trigger(), base_dir=tmp_path)


@pytest.mark.parametrize("kind", ["directory", "pipe", "missing"])
def test_things_that_are_no_files(kind, tmp_path):
    """Directories, pipes and missing files are refused at once."""
    if kind == "directory":
        (tmp_path / "hello.wasm").mkdir()
    elif kind == "pipe":
        os.mkfifo(tmp_path / "hello.wasm")
    with pytest.raises(specs.SpecError, match=r"cannot be read|regular file"):
        specs.prepare(trigger(), base_dir=tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (inline(b"\0asm\x01\0\0\0"), "name section"),
        ({**inline(b""), "Source": {"Type": "inline", "Params": {"URL": "data:;base64,%%"}}}, "64"),
    ],
)
def test_inline_modules_are_checked(source, words):
    """A module that the file itself carries is looked at too."""
    with pytest.raises(specs.SpecError, match=words):
        specs.prepare(trigger("/m.wasm", InputSources=[source]), base_dir=None)


def test_jobs_that_are_too_large(directory):
    """A job above the limit is refused at registration."""
    text = {
        "Target": "/in",
        "Source": {"Type": "inline", "Params": {"URL": "data:," + "x" * 600_000}},
    }
    with pytest.raises(specs.SpecError, match="more than the 524,288"):
        specs.prepare(trigger(InputSources=[text]), base_dir=directory)
    specs.prepare(trigger(InputSources=[text]), base_dir=directory, max_bytes=specs.HARD_CAP)
    text["Source"]["Params"]["URL"] += "x" * 400_000
    with pytest.raises(specs.SpecError, match="more than the 921,600"):
        specs.prepare(trigger(InputSources=[text]), base_dir=directory, max_bytes=2_000_000)


KNOWN_KINDS = sorted(SETTINGS)


@pytest.mark.parametrize("name", [*specs.library()])
def test_library(name):
    """Every example of the library is read, prepared and rendered."""
    path = specs.library()[name]
    read = specs.parse_trigger(
        specs.load(path.read_bytes(), file=path.name), settings=SETTINGS.get, kinds=KNOWN_KINDS
    )
    assert read.name == name
    render(specs.prepare(read, base_dir=path.parent))


def test_library_is_complete():
    """Every YAML file is an example, a template or a connector's default job."""
    examples = specs.library() | specs.templates()
    assert all(path.is_file() for path in examples.values())
    for path in specs.library_path().glob("*.yaml"):
        kind, _, mode = path.stem.partition("-")
        found = specs.default_job(kind, {"mode": mode})
        assert path.stem in examples or (found and found[0].file.endswith(path.name)), path


def test_default_job():
    """A cron trigger without a job gets the default one, on a server as well."""
    document = specs.from_data(
        {"apiVersion": "orch/v1", "kind": "cron", "name": "t", "every": "5s"}
    )
    read = specs.parse_trigger(document, settings=SETTINGS.get, default_job=specs.default_job)
    task = render(specs.prepare(read, base_dir=None))["Tasks"][0]
    assert task["Engine"]["Params"]["Parameters"] == ["from", "t"]


@pytest.mark.parametrize("kind", ["nothing", "../library/cron", "count-log", "", "heartbeat"])
def test_kinds_without_default_job(kind):
    """A kind without a default job has none, and no path is built from its name."""
    assert specs.default_job(kind) is None


def render(job: dict) -> dict:
    """Render a job as an attempt would."""
    values = {
        "trigger": {"name": "t", "uid": "u"},
        "firing": {"key": "k", "time": "2026-01-01T00:00:00Z"},
        "run": {"id": "r", "attempt": 1},
    }
    rendered = specs.compile_template(job).render(
        values, name="n", labels={}, env={"ORCH_RUN_ID": "r"}, timeouts=(30_000_000, 60_000_000)
    )
    assert len(rendered.body) < 64 * 1024
    return json.loads(rendered.body)["Job"]


def builder():
    """The script that builds the tasks."""
    path = HELLO.parent / "build.py"
    spec = importlib.util.spec_from_file_location("build_tasks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_modules_match_their_sources():
    """Each committed module was built from the source beside it, and is small."""
    record = json.loads((HELLO.parent / "SOURCES.json").read_text())
    build = builder()
    assert set(record) == set(build.TASKS) == {path.stem for path in HELLO.parent.glob("*.c")}
    for name, hashes in record.items():
        source, module = HELLO.parent / f"{name}.c", specs.task_path(name)
        assert hashlib.sha256(source.read_bytes()).hexdigest() == hashes["source"]
        assert hashlib.sha256(module.read_bytes()).hexdigest() == hashes["module"]
        assert module.stat().st_size < 40_000


def test_tasks_can_be_rebuilt(tmp_path):
    """The build script makes a module that the node would take."""
    pytest.importorskip("ziglang", reason="the compiler is an optional tool for developers")
    build = builder()
    build.build("hello", tmp_path / "big.wasm")
    (tmp_path / "hello.wasm").write_bytes(build.without_debug((tmp_path / "big.wasm").read_bytes()))
    specs.prepare(trigger(), base_dir=tmp_path)


class Run:
    """One run of a sample task under WASI."""

    def __init__(
        self, task: str, *argv: str, directory: Path, env: tuple = (), logs: Path | None = None
    ):
        engine = wasmtime.Engine()
        store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        wasi = wasmtime.WasiConfig()
        wasi.argv = [task, *argv]
        wasi.env = list(env)
        wasi.stdout_file = str(directory / "stdout")
        wasi.stderr_file = str(directory / "stderr")
        if logs is not None:
            wasi.preopen_dir(str(logs), "/logs")
        store.set_wasi(wasi)
        module = wasmtime.Module.from_file(engine, str(specs.task_path(task)))
        start = linker.instantiate(store, module).exports(store)["_start"]
        assert isinstance(start, wasmtime.Func)
        self.code, self.trapped = -1, False
        try:
            start(store)
        except wasmtime.ExitTrap as exit_trap:
            self.code = exit_trap.code
        except wasmtime.WasmtimeError:
            self.trapped = True
        except wasmtime.Trap:
            self.trapped = True
        self.stdout = (directory / "stdout").read_text()
        self.stderr = (directory / "stderr").read_text()


def test_hello(tmp_path):
    """hello prints its arguments and the ORCH_ variables on one line, and no others."""
    env = (("ORCH_RUN_ID", "r1"), ("HOME", "/"), ("ORCH_ATTEMPT", "2"))
    run = Run("hello", "a", "b", directory=tmp_path, env=env)
    assert run.stdout == "hello a b ORCH_RUN_ID=r1 ORCH_ATTEMPT=2\n"
    assert run.code in (0, -1)


def test_hello_is_one_write(tmp_path):
    """Arguments that do not fit are cut: the node keeps 2,048 bytes of one write."""
    run = Run("hello", "x" * 5000, directory=tmp_path)
    assert len(run.stdout) == 2048
    assert run.stdout.endswith("x\n")


def test_count(tmp_path):
    """count sums levels and status classes over a directory and prints one line of JSON."""
    logs = tmp_path / "logs"
    (logs / "old").mkdir(parents=True)
    (logs / "access.log").write_text(
        '::1 "GET / HTTP/1.1" 200 12\n::1 "GET /x HTTP/1.1" 404 9\n'
        '{"level":"warning","status":503}\n{"status": 1000}\nunfinished ERROR'
    )
    (logs / "old" / "app.log").write_text("2026-01-01 INFO up\n[error] boo\nWarn x\nno word\n\n")
    (logs / ".hidden").write_text("error\n")
    run = Run("count", "/logs", directory=tmp_path, logs=logs)
    assert json.loads(run.stdout) == {
        "files": 2,
        "bytes": sum(p.stat().st_size for p in (logs / "access.log", logs / "old" / "app.log")),
        "lines": 9,
        "levels": {"info": 1, "warn": 2, "error": 1},
        "status": {"2xx": 1, "4xx": 1, "5xx": 1},
    }
    assert run.stdout.endswith("}\n")


def test_count_of_nothing(tmp_path):
    """An empty directory gives zeros, not an error."""
    (tmp_path / "logs").mkdir()
    run = Run("count", "/logs", directory=tmp_path, logs=tmp_path / "logs")
    assert json.loads(run.stdout) == {
        "files": 0,
        "bytes": 0,
        "lines": 0,
        "levels": {},
        "status": {},
    }


def test_count_exit_codes(tmp_path):
    """count ends as it is told, for trying retries and dead letters."""
    assert Run("count", "exit", "3", directory=tmp_path).code == 3
    assert Run("count", "exit", "0", directory=tmp_path).code == 0
    assert Run("count", "sleep", "0", directory=tmp_path).code == -1
    assert Run("count", "trap", directory=tmp_path).trapped
    missing = Run("count", "/nowhere", directory=tmp_path)
    assert (missing.code, missing.stdout) == (1, "")
    assert "/nowhere" in missing.stderr
    assert Run("count", directory=tmp_path).code == 2
