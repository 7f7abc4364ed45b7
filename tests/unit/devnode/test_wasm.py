"""WASM tasks: how they end, what stops them, what they may use."""

from __future__ import annotations

import pytest
import wasmtime

from bacalhau_client.devnode.executors.wasmfile import BadModule, read_names
from tests.unit.devnode.conftest import (
    ENDED,
    Api,
    executions,
    inline,
    output,
    test_module,
    wasm_source,
    wasm_task,
)

SPIN = wasm_source("(loop br 0)")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("nop", -1),
        ("(call $exit (i32.const 0))", 0),
        ("(call $exit (i32.const 3))", 3),
        ("(call $exit (i32.const 255))", 255),
        ("(call $exit (i32.const -1))", 0xFFFFFFFF),
    ],
)
def test_exit_codes(api: Api, body: str, code: int) -> None:
    """Returning is -1, proc_exit its argument; the job is Completed in any case."""
    job = api.run("exits", wasm_task(wasm_source(body)))
    assert (job["Job"]["State"]["StateType"], executions(job)) == (
        "Completed",
        [(9, "Running", code)],
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const -1)))", "out of bounds memory access"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer divide by zero"),
        ("(call $_start)", "stack overflow"),
    ],
)
def test_traps_fail_with_their_reason(api: Api, body: str, words: str) -> None:
    """A trap is a failed execution with the engine's words and a stack."""
    job = api.run("traps", wasm_task(wasm_source(body)))
    message = executions(job)[0][1]
    assert message.startswith(f"wasm error: {words}\nwasm stack trace:\n\tm.wasm._start()")


@pytest.mark.parametrize("parameter", ["--spin", "--sleep"])
def test_timeout_interrupts(api: Api, parameter: str) -> None:
    """A loop and a sleep both end when their time is over, on both tries."""
    task = wasm_task(test_module("task"), parameter, "600", Timeouts={"ExecutionTimeout": 1})
    assert executions(api.run("long", task)) == [(10, "Execution timed out after 1s", 0)] * 2


def test_stop_ends_the_module_and_frees_its_place(api: Api) -> None:
    """Stopped modules leave room: more of them than run at once can be stopped in turn."""
    for number in range(12):
        job = api.submit(f"spin-{number}", wasm_task(SPIN))
        api.until(job, {"Running"})
        assert api.stop(job).status_code == 200
    api.wait(api.idle, "all have ended")


def test_the_api_answers_while_modules_spin(api: Api) -> None:
    """Runaway modules take processors, not the node."""
    jobs = [api.submit(f"spin-{number}", wasm_task(SPIN)) for number in range(3)]
    for job in jobs:
        api.until(job, {"Running"})
    assert api.call("GET", "agent/alive").elapsed.total_seconds() < 5
    for job in jobs:
        api.stop(job)


def test_memory_is_limited_by_resources(api: Api) -> None:
    """`memory.grow` beyond the task's memory gives -1; within it, it works."""
    grow = "(call $exit (memory.grow (i32.const 160)))"  # 10 MiB
    small = wasm_task(wasm_source(grow), Resources={"Memory": "5MB"})
    large = wasm_task(wasm_source(grow), Resources={"Memory": "50MB"})
    assert executions(api.run("small", small))[0][2] == 0xFFFFFFFF
    assert executions(api.run("large", large))[0][2] == 1


def test_a_module_without_names_is_refused(api: Api) -> None:
    """As on a real node, whatever else is right with it."""
    nameless = bytes(wasmtime.wat2wasm('(module (func (export "_start")))'))
    job = api.run("nameless", wasm_task(nameless))
    assert "Name section not found" in executions(job)[0][1]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (b"", "invalid magic number"),
        (b"#!/bin/sh", "invalid magic number"),
        (b"\0asm\x01\0\0\0\x00\xff\xff\xff\x7f", "longer than the module"),
        (SPIN[: len(SPIN) // 2], "failed to load entry module"),
        (wasm_source("nop", '(import "env" "gone" (func))'), "failed to load entry module"),
    ],
)
def test_broken_modules_fail_with_a_reason(api: Api, module: bytes, words: str) -> None:
    """No module brings the executor down; the next one runs."""
    assert words in executions(api.run("broken", wasm_task(module)))[0][1]
    assert executions(api.run("next", wasm_task(wasm_source("nop"))))[0][2] == -1


def test_missing_entrypoint(api: Api) -> None:
    """A function that the module does not export."""
    task = wasm_task(wasm_source("nop"))
    task["Engine"]["Params"]["Entrypoint"] = "main"
    assert "unable to find the entrypoint 'main'" in executions(api.run("main", task))[0][1]


def test_missing_module(api: Api) -> None:
    """An EntryModule that is no input's target."""
    task = wasm_task(wasm_source("nop"))
    task["Engine"]["Params"]["EntryModule"] = "/other.wasm"
    assert "/other.wasm: file does not exist" in executions(api.run("other", task))[0][1]


def test_input_files_can_be_read(api: Api) -> None:
    """A module reads /orch/batch.ndjson like any other file."""
    batch = inline(b"1\n2\n3\n", "/orch/batch.ndjson")
    task = wasm_task(test_module("task"), "--count", "/orch/batch.ndjson", InputSources=[batch])
    job = api.run("count", task)
    assert executions(job) == [(9, "Running", -1)]


def test_only_the_first_write_is_kept(api: Api) -> None:
    """RunOutput of a WASM task holds one write; the environment is sorted, so it is A."""
    job = api.run("env", wasm_task(test_module("task"), Env={"B": "2", "A": "1"}))
    assert (output(job)["Stdout"], output(job)["StdoutTruncated"]) == ("env A=1", False)


def test_a_stop_never_reaches_the_next_task_of_an_engine(api: Api) -> None:
    """Stops right at the end of a task leave the tasks after it alone."""
    for number in range(20):
        job = api.submit(f"short-{number}", wasm_task(wasm_source("nop")))
        api.stop(job)
        done = api.run(f"after-{number}", wasm_task(wasm_source("nop")))
        assert executions(done) == [(9, "Running", -1)]
        assert api.state(job) in ENDED


def test_names_and_signatures() -> None:
    """Frames are printed with module, function and type; unnamed functions by number."""
    names = read_names(wasm_source("nop"))
    assert (names.frame(0), names.frame(1)) == ("m.wasm.exit(i32)", "m.wasm._start()")
    assert names.frame(7) == "m.wasm.$7()"


@pytest.mark.parametrize("cut", range(0, len(SPIN), 7))
def test_truncated_modules_are_told(cut: int) -> None:
    """Reading stops with BadModule or early, never with another error."""
    try:
        read_names(SPIN[:cut])
    except BadModule:
        return
    assert cut >= 8
