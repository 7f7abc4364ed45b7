"""Files that are followed: megabytes per second, against `tail -F | wc -l` on the same file.

A file of lines of about 100 bytes is read from its beginning into batches of 16 MiB that are
objects in a local directory (temporary name, fsync, rename); and with nothing done with them.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connectors.file import FileConnector
from connectors.streams import Place as Where
from connectors.streams import SourceContext, Want
from tests.bench.processes import Place
from tests.bench.report import Row

_LINE = (
    b"2026-11-21T12:00:00Z INFO  request served path=/api/v1/items status=200 took=12ms id=%010d\n"
)


def run(place: Place) -> Iterator[Row]:
    """Measure, each in a process of its own."""
    size = 20 if place.quick else 1000
    log = place.root / "bench.log"
    lines = _fill(log, size * 2**20)
    try:
        for form in ("lines", "ndjson"):
            tail = place.call(tailed, log=str(log), lines=lines)["rate"]
            got = place.call(
                followed, log=str(log), lines=lines, form=form, store=str(place.root / "store")
            )
            yield Row(
                what=f"a file of {size} MiB, format {form}, against tail -F | wc -l",
                unit="MB/s", orch=got["rate"], peer=tail, n=f"{lines:,}",
                note=f"into objects, {got['batches']} batches; peak {got['peak_mb']:.0f} MB",
            )  # fmt: skip
    finally:
        log.unlink()


def followed(log: str, lines: int, form: str, store: str) -> dict[str, Any]:
    """Read all of it; megabytes per second."""
    import resource

    Path(store).mkdir(exist_ok=True)
    settings = {
        "path": log, "start": "beginning", "format": form, "storage": store,
        "batch_lines": 10_000_000, "batch_window": "100ms",
    }  # fmt: skip
    context = SourceContext(
        instance="i",
        trigger="t",
        trigger_uid="u",
        secrets={},
        data_dir=Path(store) / "data",
        stop=threading.Event(),
    )
    began = time.perf_counter()
    source = FileConnector().open(settings, context)
    [(name, position)] = source.discover({}).partitions.items()
    known = {name: Where(planned=position, done=position)}
    source.discover(known)
    count = batches = 0
    while count < lines:
        for batch in source.poll([Want(partition=name, position=position, room=2)], 0.5):
            position = batch.end
            count += batch.count or 0
            batches += 1
            source.forget(batch.inputs)
    took = time.perf_counter() - began
    source.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": os.stat(log).st_size / 1e6 / took, "batches": batches, "peak_mb": peak}


def tailed(log: str, lines: int) -> dict[str, Any]:
    """The same with the tools that everybody has, which count and keep nothing."""
    began = time.perf_counter()
    with subprocess.Popen(
        ["tail", "-n", "+1", "-F", log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as tail:
        assert tail.stdout is not None
        wc = subprocess.Popen(["head", "-n", str(lines)], stdin=tail.stdout, stdout=subprocess.PIPE)
        tail.stdout.close()
        counted = subprocess.run(["wc", "-l"], stdin=wc.stdout, capture_output=True, check=True)
        took = time.perf_counter() - began
        if wc.stdout is not None:
            wc.stdout.close()
        wc.wait()
        tail.kill()
    assert int(counted.stdout) == lines
    return {"rate": os.stat(log).st_size / 1e6 / took}


def _fill(log: Path, size: int) -> int:
    lines = size // len(_LINE % 0)
    with log.open("wb") as file:
        for at in range(0, lines, 100_000):
            file.write(b"".join(_LINE % n for n in range(at, min(lines, at + 100_000))))
    return lines
