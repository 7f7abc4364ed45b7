"""Followers of files below a directory of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.followed import Follower

QUICK = {"batch_window": "50ms", "flush_after": "100ms"}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where files are."""
    place = tmp_path / "logs"
    place.mkdir()
    return place


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Any]:
    """Makes followers of paths."""
    made: list[Follower] = []

    def make(path: Path | str, **settings: Any) -> Follower:
        number = len(made)
        follower = Follower(
            settings={"path": str(path), "start": "beginning", **QUICK, **settings},
            data_dir=tmp_path / f"data-{number}",
        )
        made.append(follower)
        follower.open()
        return follower

    yield make
    for follower in made:
        follower.close()
