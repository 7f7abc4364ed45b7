"""The file of a session: what it knows after a crash, and when it knows nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.mqtt.journal import Entry, Journal
from connectors.streams import SourceUnavailable

_ONE, _TWO = Entry(digest="d1", id="m1"), Entry(digest="d2", id="m2")


def _filled(directory: Path) -> str:
    journal = Journal(directory, None)
    journal.subscribes(["1 a/#"])
    journal.note([(1, _ONE), (2, _TWO)])
    token = journal.token
    journal.close()
    return token


def test_it_is_read_again(tmp_path: Path):
    """Numbers that were not freed, and the subscription."""
    token = _filled(tmp_path)
    journal = Journal(tmp_path, token)
    journal.free([1])
    journal.close()
    journal = Journal(tmp_path, token)
    assert (journal.entry(1), journal.entry(2)) == (None, _TWO)
    assert journal.subscribed == ("1 a/#",)
    journal.close()


def test_a_new_session_knows_nothing(tmp_path: Path):
    """Not even after a crash."""
    token = _filled(tmp_path)
    journal = Journal(tmp_path, token)
    journal.begin()
    journal.close()
    journal = Journal(tmp_path, token)
    assert (journal.entry(2), list(journal.subscribed)) == (None, [])
    journal.close()


def test_a_file_of_another_time_knows_nothing(tmp_path: Path):
    """Another orchestrator has read the trigger since."""
    token = _filled(tmp_path)
    journal = Journal(tmp_path, "of-somebody-else")
    assert journal.token not in (token, "of-somebody-else")
    assert journal.entry(1) is None
    journal.close()


@pytest.mark.parametrize(
    "damage", [b'["+", 3, "d', b'{"a": 1}\n', b"\xff\xfe\n", b'["-", "x"]\n', b'["+"]\n']
)
def test_a_damaged_file_does_no_harm(tmp_path: Path, damage: bytes):
    """A last line that was not written whole is not there; anything else, and nothing is known."""
    token = _filled(tmp_path)
    with (tmp_path / "session").open("ab") as file:
        file.write(damage)
    journal = Journal(tmp_path, token)
    assert journal.entry(3) is None
    whole = not damage.endswith(b"\n")
    assert (journal.token == token) is whole
    assert (journal.entry(2) == _TWO) is whole
    journal.note([(4, _ONE)])
    after = journal.token
    journal.close()
    journal = Journal(tmp_path, after)
    assert journal.entry(4) == _ONE
    journal.close()


def test_one_source_at_a_time(tmp_path: Path):
    """The one before it has to be closed first."""
    first = Journal(tmp_path, None)
    first.note([(1, _ONE)])
    second = Journal(tmp_path, first.token)
    with pytest.raises(SourceUnavailable, match="still in use"):
        second.entry(1)
    first.close()
    assert second.entry(1) == _ONE
    second.close()
    with pytest.raises(SourceUnavailable, match="closed"):
        second.entry(1)


def test_a_place_that_cannot_be_written(tmp_path: Path):
    """Is told, and nothing is received."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SourceUnavailable, match="cannot be opened"):
        _ = Journal(blocked, None).token


def test_it_stays_small(tmp_path: Path):
    """However many messages pass."""
    journal = Journal(tmp_path, None)
    journal.note([(9, _TWO)])
    for _ in range(600):
        journal.note([(packet, _ONE) for packet in range(10, 30)])
        journal.free(range(10, 30))
    assert (tmp_path / "session").stat().st_size < 400_000
    token = journal.token
    journal.close()
    journal = Journal(tmp_path, token)
    assert journal.entry(9) == _TWO
    journal.close()
