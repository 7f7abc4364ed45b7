"""Rebuilds the sample tasks: `python -m specs.tasks.build` (needs the package ziglang).

The node refuses a module without its name section, and this compiler strips either nothing or
everything: so it keeps all, and the debug sections are taken out here. Beside the modules it
writes `SOURCES.json`, the hash of each source that a module was built from.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
RECORD = DIRECTORY / "SOURCES.json"
TASKS = ("hello", "count", "records")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-format-nonliteral", "-Wno-format-extra-args")
FLAGS = (
    "-target",
    "wasm32-wasi",
    "-mcpu=mvp",
    "-Os",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-std=c11",
)


def digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(name: str, output: Path) -> None:
    """Compile one task. Raises CalledProcessError with the compiler's words on stderr."""
    source = DIRECTORY / f"{name}.c"
    compiler = (sys.executable, "-m", "ziglang", "cc")
    subprocess.run((*compiler, *FLAGS, "-o", str(output), str(source)), check=True)  # noqa: S603


def without_debug(module: bytes) -> bytes:
    """Return the module without its custom sections whose names begin with `.debug`."""
    kept = bytearray(module[:8])
    at = 8
    while at < len(module):
        size, start = _leb128(module, at + 1)
        length, name = _leb128(module, start)
        debug = module[at] == 0 and module[name : name + length].startswith(b".debug")
        if not debug:
            kept += module[at : start + size]
        at = start + size
    return bytes(kept)


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def main() -> None:
    """Build every task and record what it was built from."""
    record: dict[str, dict[str, str]] = {}
    for name in TASKS:
        module = DIRECTORY / f"{name}.wasm"
        with tempfile.TemporaryDirectory() as directory:
            built = Path(directory) / module.name
            build(name, built)
            module.write_bytes(without_debug(built.read_bytes()))
        record[name] = {
            "source": digest(DIRECTORY / f"{name}.c"),
            "module": digest(module),
        }
    RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
