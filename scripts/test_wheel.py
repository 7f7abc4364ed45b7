"""Builds the wheel, installs it into an empty environment, and uses it away from the repository.

    python scripts/test_wheel.py        (or `make test-wheel`)

Ends with one line that says how it went; exit code 1 where the wheel lacks something.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "run.lock"
_NEEDED = (
    "specs/library/cron.yaml",
    "specs/library/count-log.yaml",
    "specs/tasks/count.wasm",
    "specs/tasks/hello.wasm",
    "orchestrator/store/migrations/script.py.mako",
    "orchestrator/py.typed",
    "bacalhau_client/py.typed",
)
_FOREIGN = ("tests/", "docs/", "scripts/")
_CLIENT_ALONE = """
import sys
import bacalhau_client
pulled = {m.partition(".")[0] for m in sys.modules} & {"orchestrator", "connectors", "specs"}
sys.exit(f"import bacalhau_client pulls in {sorted(pulled)}" if pulled else 0)
"""
_LIBRARY = """
import specs
names = sorted(specs.library())
assert "count-log" in names and specs.task_path("count").is_file(), names
"""


class Failed(Exception):
    """The wheel is not good; the message says why."""


def main() -> int:
    """Carry out every step; tell the first that fails."""
    with tempfile.TemporaryDirectory(prefix="orch-wheel-") as directory:
        try:
            done = check(Path(directory))
        except Failed as failure:
            say(f"\nThe wheel is NOT good: {failure}")
            return 1
    say(f"\nThe wheel is good: {done}")
    return 0


def check(work: Path) -> str:
    """Build, install, use. Returns what was tried, for the closing line."""
    wheel = build(work)
    look_inside(wheel)
    binaries = install(work / "venv", wheel)
    away = work / "away"
    away.mkdir()
    python = binaries / "python"
    run("the library and its tasks", [python, "-c", _LIBRARY], away)
    run("import bacalhau_client alone", [python, "-c", _CLIENT_ALONE], away)
    helped = run("orch --help", [binaries / "orch", "--help"], away)
    if "serve" not in helped:
        raise Failed("`orch --help` does not show the command `serve`")
    run("orch demo --for 20s", [binaries / "orch", "demo", "--for", "20s"], away, timeout=120)
    count = len(list((work / "venv").glob("lib/python*/site-packages/*.dist-info")))
    return f"{wheel.name}, installed with {count} packages, ran `orch demo` outside the repository"


def build(work: Path) -> Path:
    """Source archive and wheel, from a copy: what lies about in the checkout stays out."""
    source = work / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    out = work / "dist"
    run("python -m build", [sys.executable, "-m", "build", "--outdir", out, source], work, 600)
    wheels = list(out.glob("*.whl"))
    if len(wheels) != 1:
        raise Failed(f"one wheel expected, found {[w.name for w in wheels]}")
    return wheels[0]


def look_inside(wheel: Path) -> None:
    """What the installed package reads must be in it, and nothing else of the repository."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in _NEEDED if name not in names]
    foreign = [name for name in names if name.startswith(_FOREIGN)]
    if missing or foreign:
        raise Failed(f"the wheel lacks {missing}" if missing else f"the wheel holds {foreign[:3]}")


def install(environment: Path, wheel: Path) -> Path:
    """An empty environment with the wheel and what it needs; returns where its programs are."""
    venv.create(environment, with_pip=True)
    binaries = environment / "bin"
    pip = [binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if LOCK.exists():
        locked = [*pip, "--require-hashes", "-r", LOCK]
        run("install what requirements/run.lock names", locked, environment, 600)
        run("install the wheel alone", [*pip, "--no-deps", wheel], environment)
        run("pip check", [binaries / "python", "-m", "pip", "check"], environment)
    else:
        run("install the wheel with what it needs", [*pip, wheel], environment, 600)
    return binaries


def run(what: str, command: Sequence[str | Path], cwd: Path, timeout: float = 120) -> str:
    """Run a step and return what it printed. Raises Failed with its last lines."""
    say(f"… {what}")
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "http_proxy", "https_proxy")
    environment = {k: v for k, v in os.environ.items() if k in kept or k.startswith("PIP_")}
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{what}: not done after {timeout:g} s") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        tail = "\n".join(text.splitlines()[-25:])
        raise Failed(f"{what}: exit code {done.returncode}\n{tail}")
    return text


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
