"""Writes `docs/reference/` from the code, and the picture of the states.

python docs/generate.py             write
python docs/generate.py --check     only compare; exit code 1 names what differs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from generator import commands, served, source, values  # noqa: E402
from generator.markdown import page, table  # noqa: E402
from pictures import draw  # noqa: E402

PAGES = {
    "cli.md": (commands.command_line, "Every command and option"),
    "settings.md": (values.settings, "Settings of the daemon"),
    "trigger-file.md": (values.trigger_file, "Keys of a trigger file"),
    "http.md": (served.http, "The HTTP API"),
    "metrics.md": (served.metrics, "Metrics for Prometheus"),
    "states.md": (source.all_states, "States of runs, attempts and triggers"),
    "client-errors.md": (source.client_errors, "Errors of `bacalhau_client`"),
    "failpoints.md": (source.failpoints, "Points at which a test may kill the daemon"),
}


def generate() -> dict[Path, str]:
    """What every generated file should hold."""
    rows = [(f"[{name}]({name})", summary) for name, (_, summary) in PAGES.items()]
    files = {DOCS / "reference" / name: make() for name, (make, _) in PAGES.items()}
    index = page("Reference", table(("Page", "What"), rows))
    return {DOCS / "reference" / "README.md": index, **files, draw.FILE: draw.picture()}


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="Makes docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    files = generate()
    stale = [f for f, text in files.items() if not f.exists() or f.read_text() != text]
    for file in stale:
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files[file], encoding="utf-8")
        sys.stdout.write(f"{'differs' if check else 'wrote'} {file.relative_to(DOCS.parent)}\n")
    if not stale:
        sys.stdout.write(f"{len(files)} files are as the code says\n")
    elif check:
        sys.stdout.write("run `make docs` and commit the result\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
