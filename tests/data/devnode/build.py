"""Rebuilds the test modules: `python tests/data/devnode/build.py` (needs the package ziglang).

Debug sections are taken out and the name section is kept: a node refuses modules without it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ["-target", "wasm32-wasi", "-Os", "-g", "-Wall", "-Wextra", "-Werror"]


def number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the position behind it."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at


def without_debug(module: bytes) -> bytes:
    """The module without its `.debug_…` sections."""
    kept, at = [module[:8]], 8
    while at < len(module):
        size, body = number(module, at + 1)
        end = body + size
        length, name = number(module, body)
        custom = module[at] == 0 and module[name : name + length].startswith(b".debug_")
        if not custom:
            kept.append(module[at:end])
        at = end
    return b"".join(kept)


def main() -> None:
    """Compiles every source beside this file."""
    with tempfile.TemporaryDirectory() as scratch:
        for source in sorted(HERE.glob("*.c")):
            output = Path(scratch) / f"{source.stem}.wasm"
            command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", output, source]
            subprocess.run(command, check=True)
            (HERE / output.name).write_bytes(without_debug(output.read_bytes()))


if __name__ == "__main__":
    main()
