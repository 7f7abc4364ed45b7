"""A process that writes numbered lines while it rotates its file, as fast as it may.

    python tests/support/rotating.py FILE WAY LINES ROTATIONS SECONDS

`WAY` is ``rename``, ``compress`` (renamed, then compressed) or ``copytruncate``. It takes about so
many seconds, ends with nothing left to rotate, and prints how often it has rotated.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import time
from pathlib import Path

_FILES = 60  # that are kept: app.log.1 is the youngest


def main(path: Path, way: str, lines: int, rotations: int, seconds: float) -> None:
    """Write all lines, rotating evenly."""
    mode = "ab"
    file = path.open(mode, buffering=0)
    rotated = 0
    began = time.monotonic()
    number = 0
    while number < lines:
        some = min(lines - number, max(1, lines // 1000))
        block = b"".join(b"%09d some words of a line\n" % n for n in range(number, number + some))
        half = len(block) // 3  # a write may end anywhere
        file.write(block[:half])
        file.write(block[half:])
        number += some
        if number * rotations // lines > rotated and number < lines:
            rotated += 1
            _shift(path)
            first = path.with_name(f"{path.name}.1")
            if way == "copytruncate":
                shutil.copyfile(path, first)
                os.ftruncate(file.fileno(), 0)
            else:
                path.rename(first)
                file.close()
                file = path.open(mode, buffering=0)
                if way == "compress":
                    packed = path.with_name(f"{path.name}.1.gz")
                    with first.open("rb") as whole, gzip.open(packed, "wb", 1) as small:
                        shutil.copyfileobj(whole, small)
                    info = first.stat()
                    os.utime(packed, ns=(info.st_atime_ns, info.st_mtime_ns))
                    first.unlink()
        behind = began + seconds * number / lines - time.monotonic()
        if behind > 0:
            time.sleep(behind)
    file.close()
    print(rotated, flush=True)


def _shift(path: Path) -> None:
    for number in range(_FILES, 0, -1):
        for ending in ("", ".gz"):
            old = path.with_name(f"{path.name}.{number}{ending}")
            if old.exists():
                if number == _FILES:
                    old.unlink()
                else:
                    old.rename(path.with_name(f"{path.name}.{number + 1}{ending}"))


if __name__ == "__main__":
    _, place, kind, count, turns, span = sys.argv
    main(Path(place), kind, int(count), int(turns), float(span))
