"""What a trigger runs that names no job: the right task for its kind and mode, with its values."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import specs

SETTINGS = {"kafka": ("topic", "mode", "compression"), "cron": ("every", "mode")}
PATHS = ("topic", "partition", "start", "end", "brokers", "group", "isolation", "idle_exit")
KNOWN = specs.BASE_PATHS.extended(outside=tuple(f"kafka.{name}" for name in PATHS))
VALUES: dict[str, Any] = {
    "trigger": {"name": "logs"},
    "kafka": {
        "topic": "logs",
        "partition": 0,
        "start": 100,
        "end": 200,
        "brokers": "a:9092,b:9092",
        "group": "orch.i.logs.u",
        "isolation": "read_committed",
        "idle_exit": 0,
    },
}
IMAGES = specs.task_images()


def job_of(**settings: Any) -> dict[str, Any]:
    """The rendered job of a Kafka trigger without one of its own."""
    data = {"apiVersion": "orch/v1", "kind": "kafka", "name": "t", "topic": "logs", **settings}
    read = specs.parse_trigger(
        specs.from_data(data), settings=SETTINGS.get, default_job=specs.default_job
    )
    job = specs.prepare(read, base_dir=None, known=KNOWN)
    rendered = specs.compile_template(job, known=KNOWN).render(
        VALUES, name="n", labels={}, env={}, timeouts=(1, 2)
    )
    return json.loads(rendered.body)["Job"]["Tasks"][0]


def variables_of(program: Path) -> set[str]:
    """The variables that a task reads, as they stand in it."""
    texts = {
        node.value
        for node in ast.walk(ast.parse(program.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if text.startswith("KAFKA_") and text.isidentifier()}


@pytest.mark.parametrize("settings", [{}, {"mode": "range"}, {"mode": "bufer"}, {"mode": 3}])
def test_range_is_what_kafka_does_by_itself(settings: dict[str, Any]):
    """No mode and `range` read a range; what is no mode at all is another check's business."""
    task = job_of(**settings)
    assert task["Engine"]["Params"]["Image"] == "orch/kafka-range:1"
    assert task["Env"]["KAFKA_END"] == "200"
    assert task["Network"] == {"Type": "Host"}


def test_follow():
    """A life gets its group, when to leave if nothing comes, and no end."""
    task = job_of(mode="follow")
    assert task["Engine"]["Params"]["Image"] == "orch/kafka-follow:1"
    assert task["Env"].keys() >= {"KAFKA_GROUP", "KAFKA_IDLE_EXIT"}
    assert "KAFKA_END" not in task["Env"]


def test_buffer():
    """A file is counted where it lies, by a module that is in the job."""
    task = job_of(mode="buffer")
    assert task["Engine"]["Type"] == "wasm"
    assert task["Engine"]["Params"]["Parameters"] == ["/orch/batch.ndjson"]
    assert [source["Target"] for source in task["InputSources"]] == ["/task.wasm"]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_default_job_refuses_what_its_task_cannot_read(compression: str):
    """A compressed file would end each of its runs: said at registration, with what to do."""
    with pytest.raises(specs.SpecError) as caught:
        job_of(mode="buffer", compression=compression)
    (problem,) = caught.value.problems
    assert problem.path == ("compression",)
    assert compression in problem.message
    assert "compression: none" in problem.remedy
    assert "add job:" in problem.remedy
    assert job_of(mode="buffer", compression="none")["Name"] == "count"


@pytest.mark.parametrize("mode", ["range", "follow"])
def test_a_default_job_fills_what_its_task_reads(mode: str):
    """Every variable that the job sets is one that the task knows."""
    task = job_of(mode=mode)
    known = variables_of(IMAGES[task["Engine"]["Params"]["Image"]])
    assert task["Env"].keys() <= known
    missing = known - task["Env"].keys()
    assert all(name.startswith(("KAFKA_SASL_", "KAFKA_TLS")) for name in missing)


@pytest.mark.parametrize("mode", ["../library/kafka", "buffer.yaml", "", "log", None])
def test_no_path_is_built_from_a_mode(mode: Any):
    """A mode that names no file changes nothing."""
    assert specs.default_job("kafka", {"mode": mode}) == specs.default_job("kafka")
    assert specs.default_job("count", {"mode": mode}) is None


def test_an_example_is_no_default_job():
    """`count-log` is an example, not what kind `count` does in mode `log`."""
    assert specs.default_job("count", {"mode": "log"}) is None
    assert specs.default_job("nightly", {"mode": "report"}) is None


@pytest.mark.parametrize("image", [*IMAGES])
def test_each_image_can_be_built(image: str):
    """Beside the program stands a Dockerfile that says under which name, and pins what it needs."""
    program = IMAGES[image]
    dockerfile = (program.parent / "Dockerfile").read_text()
    assert f"-t {image} " in dockerfile
    assert "COPY task.py" in dockerfile
    assert "USER" in dockerfile
    assert all("==" in word for line in dockerfile.splitlines() for word in _installed(line))
    assert ast.get_docstring(ast.parse(program.read_text()))


def _installed(line: str) -> list[str]:
    _, _, packages = line.partition("pip install")
    return [word for word in packages.split() if not word.startswith("-")]


def test_there_are_images():
    """The tests above have something to look at."""
    assert {"orch/kafka-range:1", "orch/kafka-follow:1"} <= set(IMAGES)


def run_records(directory: Path, *argv: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the module; `directory` is /orch to it."""
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["records", *argv]
    wasi.stdout_file = str(directory / "stdout")
    wasi.stderr_file = str(directory / "stderr")
    wasi.preopen_dir(str(directory), "/orch")
    store.set_wasi(wasi)
    module = wasmtime.Module.from_file(engine, str(specs.task_path("records")))
    start = linker.instantiate(store, module).exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    code = -1
    try:
        start(store)
    except wasmtime.ExitTrap as ended:
        code = ended.code
    return code, (directory / "stdout").read_text(), (directory / "stderr").read_text()


def line(offset: int, size: int = 200) -> str:
    """A record as a buffer file holds it."""
    return json.dumps({"offset": offset, "value": "x" * size}, separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    ("text", "count", "first", "last"),
    [
        ("", 0, None, None),
        (line(100), 1, 100, 100),
        (line(100) + line(101) + line(500), 3, 100, 500),
        (line(100) + line(101).rstrip("\n"), 2, 100, 101),
        (line(0), 1, 0, 0),
        (line(2**62), 1, 2**62, 2**62),
        ("raw\nvalues\n\n", 3, None, None),
        ('{"offset":x}\n{"offset":-3}\n', 2, None, None),
        (line(7, 300_000) + line(8, 300_000), 2, 7, 8),
        ("".join(line(n) for n in range(2_000)), 2_000, 0, 1_999),
    ],
)
def test_records_are_counted(
    tmp_path: Path, text: str, count: int, first: int | None, last: int | None
):
    """A line is a record, also the last without its newline; offsets are read where they are."""
    (tmp_path / "batch.ndjson").write_text(text)
    code, out, _ = run_records(tmp_path, "/orch/batch.ndjson")
    assert code == -1 or code == 0
    told = {"count": count, "first": first, "last": last, "bytes": len(text)}
    assert json.loads(out) == told


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd\x00"])
def test_compressed_records_are_not_counted(tmp_path: Path, magic: bytes):
    """A file that the task cannot read is no file of a few strange lines."""
    (tmp_path / "batch.ndjson").write_bytes(magic + b"\nxx\n")
    code, out, error = run_records(tmp_path, "/orch/batch.ndjson")
    assert (code, out) == (65, "")
    assert "compressed" in error


def test_records_without_a_file(tmp_path: Path):
    """A missing file and wrong use have exit codes of their own."""
    assert run_records(tmp_path, "/orch/no")[0] == 66
    assert run_records(tmp_path)[0] == 2
