"""Rotation under load: a process writes and rotates while lines are read."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support import rotating
from tests.support.followed import Follower
from tests.support.waiting import until

_LINES = 30_000
_ROTATIONS = 20
_SECONDS = 4.0


@pytest.mark.parametrize("way", ["rename", "compress", "copytruncate"])
@pytest.mark.parametrize("restarts", [0, 15])
def test_every_line_once(tmp_path: Path, way: str, restarts: int):
    """However the file is rotated, and also when the source is lost again and again with
    everything but its positions: every line is taken in exactly once."""
    place = tmp_path / "logs"
    place.mkdir()
    log = place / "app.log"
    log.write_bytes(b"")
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    follower = Follower(
        settings={
            "path": str(log),
            "start": "beginning",
            "batch_window": "50ms",
            "flush_after": "300ms",
            "batch_lines": 1_000,
        },
        data_dir=tmp_path / "data",
    )
    follower.open()
    writer = subprocess.Popen(
        [
            *(sys.executable, rotating.__file__, str(log), way),
            *(str(_LINES), str(_ROTATIONS), str(_SECONDS)),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        lives = sorted(chance.uniform(0, _SECONDS) for _ in range(restarts))
        began = time.monotonic()

        def done() -> bool:
            follower.turn()
            if lives and time.monotonic() - began > lives[0]:
                lives.pop(0)
                follower.close()
                # Away for a moment, in which the file is rotated once or twice.
                writer_goes_on = time.monotonic() + chance.uniform(0, 0.3)
                until(lambda: time.monotonic() > writer_goes_on, "a while", within=1)
                follower.open()
            taken = sum(run.batch.count or 0 for run in follower.runs)
            return writer.poll() is not None and taken >= _LINES

        until(done, "all lines", within=60, show=lambda: _missing(follower))
        assert writer.communicate()[0] == b"%d\n" % (_ROTATIONS - 1)
    finally:
        writer.kill()
        writer.wait()
        follower.close()
    found = Counter(int(line.partition(b" ")[0]) for line in follower.lines())
    again = {number: count for number, count in found.items() if count > 1}
    assert (sorted(set(range(_LINES)) - found.keys()), again) == ([], {})
    assert not follower.lost()


def _missing(follower: Follower) -> object:
    found = {int(line.partition(b" ")[0]) for line in follower.lines()}
    missing = sorted(set(range(_LINES)) - found)
    ends = [run.batch for run in follower.runs if run.batch.outcome != "run"]
    told = [(batch.partition, batch.start, batch.reason) for batch in ends]
    told = [one for one in told if "rotated away" not in one[2]]
    return len(missing), missing[:3], missing[-3:], follower.positions, told
