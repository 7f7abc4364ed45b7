"""`python tests/bench/run.py`, from any directory."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench.cli import main  # noqa: E402

main()
