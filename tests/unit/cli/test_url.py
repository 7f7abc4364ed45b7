"""Where the orchestrator is: a command's --url, the one before it, ORCH_URL, the default."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ROOT, OWN, ENV = "http://127.0.0.1:9", "http://127.0.0.1:10", "http://127.0.0.1:11"


@pytest.mark.parametrize(
    ("arguments", "environment", "asked"),
    [
        (["--url", ROOT, "status", "--url", OWN], ENV, OWN),
        (["--url", ROOT, "status"], ENV, ROOT),
        (["status"], ENV, ENV),
    ],
)
def test_the_nearest_url_wins(arguments: list[str], environment: str, asked: str) -> None:
    """Nothing listens on these ports; the error names the address that was tried."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        env={**os.environ, "ORCH_URL": environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert f"no orchestrator answers at {asked} " in done.stderr
