"""`make bench`: measures, shows a table, compares with what others manage in the same run."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench.processes import Place
from tests.bench.report import Row, headline, machine, show, write_json

BENCHMARKS = {
    "firing": "firings per second and memory, by the number of schedules",
    "registration": "schedules registered per second, over HTTP and from files",
    "lag": "from the due time to the ledger, many at once",
    "restart": "from the process's start to the first firing, 100,000 schedules",
    "submission": "jobs submitted per second against a plain loop",
    "idle": "from the due time to the accepted job, nothing else to do",
    "inflight": "from the process's start to a new submission, 10,000 runs in flight",
    "files": "a file that is followed, against tail -F | wc -l",
    "streams": "from a Kafka broker into files, against loops that only read",
    "ranges": "from a record in Kafka to its run and its accepted job",
    "jobs": "jobs asked for per second, over HTTP and in bulk; a million of the future",
    "queues": "messages of SQS received and deleted, against plain loops; many quiet queues",
    "tables": "rows of a table claimed and finished, against bare SKIP LOCKED loops",
}


def benchmark(name: str) -> Callable[[Place], Iterator[Row]]:
    """The benchmark of that name."""
    return importlib.import_module(f"tests.bench.{name}").run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen benchmarks, all by default."""
    listed = "\n".join(f"  {name:14}{text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="bench",
        description=__doc__,
        epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; default all")
    parser.add_argument("--quick", action="store_true", help="sizes that prove only that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    parser.add_argument(
        "--dir", type=Path, default=Path(".orch/bench"), help="temporary data, on a real disk"
    )
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    place = Place(chosen.dir, quick=chosen.quick)
    facts = machine(place.root)
    print(headline(facts), flush=True)
    if chosen.quick:
        print("--quick: the figures mean nothing", flush=True)
    rows: list[Row] = []
    for name in chosen.names or BENCHMARKS:
        begin = time.monotonic()
        found: list[Row] = []
        for row in benchmark(name)(place):
            print(f"{row.what}: {row.orch:,.2f} {row.unit}", file=sys.stderr, flush=True)
            found.append(row)
        show(f"{name} ({time.monotonic() - begin:.0f} s)", found)
        rows += found
    if chosen.json:
        write_json(chosen.json, facts, rows)
