"""`orch jobs` and `orch register at`, as a person at a prompt sees them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.support.api import Api
from tests.support.cli import Done, orch
from tests.support.jobdesk import Desk


@pytest.fixture(autouse=True)
def _log_elsewhere(tmp_path: Path) -> Iterator[None]:
    """The orchestrator in this process writes its log to a file, not into the output of `orch`."""
    with (tmp_path / "log").open("w") as file:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=file))
        yield
        structlog.reset_defaults()


@pytest.fixture
def cli(api: Api) -> Any:
    def call(*args: str, code: int = 0, stdin: bytes = b"") -> Done:
        done = orch(*args, stdin=stdin, env={"ORCH_URL": api.url})
        assert done.code == code, (done.out, done.err)
        return done

    return call


def test_jobs_from_the_command_line(cli: Any, desk: Desk) -> None:
    """A job is asked for, waited for, listed, shown and cancelled."""
    said = cli("register", "job", "--spec", "library:echo").out
    assert said.startswith("registered echo: runs are asked for: orch jobs submit echo")
    shown = cli("jobs", "submit", "echo", "--parameters", "{text: ahoy}", "--wait", "20s").out
    assert "Succeeded" in shown
    assert "hello ahoy" in shown
    later = cli("jobs", "submit", "echo", "--delay", "1h", "--key", "k", "--json").json
    again = cli("jobs", "submit", "echo", "--delay", "1h", "--key", "k").out
    assert later["id"] in again
    assert later["id"] in cli("jobs", "list", "--status", "Queued").out
    assert "Queued" in cli("jobs", "show", later["id"]).out
    cli("jobs", "cancel", later["id"])
    desk.until(later["id"], "Cancelled")
    assert "is over: Cancelled" in cli("jobs", "cancel", later["id"], code=1).err
    assert "known are text" in cli("jobs", "submit", "echo", "--parameters", "{x: 1}", code=1).err
    assert "no mapping" in cli("jobs", "submit", "echo", "--parameters", "7", code=2).err


def test_whole_job_from_the_command_line(cli: Any, desk: Desk) -> None:
    """A whole job comes from a file or standard input; one that fails is an exit code of 1."""
    task = "{Name: m, Engine: {Type: docker, Params: {Image: 'busybox:1', Entrypoint: [sh, -c], "
    body = "Type: batch\nTasks: [" + task + "Parameters: ['%s']}}}]\n"
    done = cli("jobs", "submit", "--job", "-", "--wait", "20s", stdin=(body % "echo hi").encode())
    assert "hi" in done.out
    assert desk.list(status="Succeeded", limit=1)["items"][0]["template"] is None


def test_register_at(cli: Any) -> None:
    """A time to come needs no name and no job; one that is over is refused."""
    when = "2199-01-01 09:00 Europe/Rome"
    said = cli("register", "at", "--when", when).out
    assert "registered at-2199-01-01-09-00-europe-rome: once, at 2199-01-01 09:00:00" in said
    cli("triggers", "delete", "at-2199-01-01-09-00-europe-rome")
    refused = cli("register", "at", "--when", "2020-01-01 09:00 Europe/Rome", code=1)
    assert "is over" in refused.err
    assert "did you mean" in cli("register", "at", "--when", "2199-01-01 09:00 Rome", code=2).err
    both = cli(
        *("register", "at", "--name", "two", "--when", "2199-01-01 09:00", "--when"),
        *("2199-01-02 09:00", "--timezone", "Asia/Tokyo", "--parameters", "{a: 1}", "--dry-run"),
    ).out
    assert "2 times, the first at 2199-01-01 09:00:00 in Asia/Tokyo" in both
