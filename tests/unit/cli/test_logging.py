"""The daemon's log: one form for its own lines and those of libraries."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from orchestrator import logging as orch_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_carry_ids() -> None:
    """With JSON each line is an object with time, level, event and what was bound."""
    out = io.StringIO()
    orch_logging.set_up(json=True, stream=out)
    structlog.get_logger("x").info("job accepted", run="r1", attempt=2)
    logging.getLogger("library").warning("odd %s", "thing")
    own, foreign = (json.loads(line) for line in out.getvalue().splitlines())
    assert own["event"] == "job accepted"
    assert (own["run"], own["attempt"], own["level"]) == ("r1", 2, "info")
    assert own["timestamp"].endswith("Z")
    assert (foreign["event"], foreign["level"]) == ("odd thing", "warning")


def test_plain_lines_have_no_colours_off_a_terminal() -> None:
    """Elsewhere a line is key=value text without escapes."""
    out = io.StringIO()
    orch_logging.set_up(stream=out)
    structlog.get_logger("x").info("run dead", run="r1", reason="exit 3")
    assert "run dead" in out.getvalue()
    assert "run=r1" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_level_and_quiet_libraries() -> None:
    """Below the level nothing is written, nor what libraries say by the way."""
    out = io.StringIO()
    orch_logging.set_up(level="info", stream=out)
    structlog.get_logger("x").debug("request")
    logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
    logging.getLogger("urllib3").debug("Starting new HTTP connection")
    assert out.getvalue() == ""


def test_an_exception_is_one_json_line() -> None:
    """A traceback stays inside its line, without local variables."""
    out = io.StringIO()
    orch_logging.set_up(json=True, stream=out)
    try:
        secret = "hush"
        raise ValueError(f"no {len(secret)}")
    except ValueError:
        structlog.get_logger("x").exception("service failed")
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "ValueError"
    assert "hush" not in line


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """The pipe is closed, or the disk is full: who logs goes on."""

    class Closed(io.StringIO):
        def write(self, s: str, /) -> int:
            raise BrokenPipeError

    orch_logging.set_up(stream=Closed())
    structlog.get_logger("x").info("job accepted", run="r1")


@pytest.mark.parametrize("json", [True, False])
def test_what_comes_from_outside_makes_no_line_of_its_own(json: bool) -> None:
    """Nor does it move the cursor of a terminal."""
    out = io.StringIO()
    orch_logging.set_up(stream=out, json=json)
    structlog.get_logger("x").info("run dead", reason="a\n2026 [error] forged\x1b[2J\r\u2028b")
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()
