"""The tokens of runs."""

from __future__ import annotations

import pytest

from orchestrator.services.callbacks import callback_key
from orchestrator.services.serving import attempt_of, heartbeat_key, run_token

KEY = heartbeat_key(b"k" * 32)


def test_a_token_names_its_attempt() -> None:
    """It proves one attempt of one run, under one key."""
    token = run_token(KEY, "r1", 3)
    assert attempt_of(KEY, "r1", token) == 3
    assert attempt_of(KEY, "r2", token) is None
    assert attempt_of(heartbeat_key(b"x" * 32), "r1", token) is None
    assert attempt_of(KEY, "r1", "4" + token[1:]) is None
    assert attempt_of(KEY, "r1", token[:-1] + ("0" if token[-1] != "0" else "1")) is None


def test_its_key_is_no_other_key() -> None:
    """Whoever may check callbacks can make no tokens."""
    assert callback_key(b"k" * 32) != KEY


@pytest.mark.parametrize(
    "token", ["", "1", "1.", "1.abc", "0." + "0" * 64, "-1." + "0" * 64, "1." + "0" * 65, "é"]
)
def test_what_is_no_token_is_told_apart(token: str) -> None:
    """It is no foreign token: there is none."""
    with pytest.raises(ValueError, match="not the token"):
        attempt_of(KEY, "r1", token)
