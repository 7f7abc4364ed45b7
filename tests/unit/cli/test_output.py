"""Tables, times and text from outside."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator

import pytest

from orchestrator.cli import http, output
from orchestrator.cli.demoview import readable, row
from orchestrator.cli.runs import show_runs
from tests.support.cli import orch

_WIDE = "x" * 150
_ID = "r2a24aac4697074dad09dbba3"


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local zone is Berlin's."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_table_in_a_pipe_is_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal each row is one line, whole and without escapes."""
    monkeypatch.delenv("COLUMNS", raising=False)
    output.table(("A", "B"), [("short", _WIDE), ("longer", 3)], right=("B",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("short   ")
    assert _WIDE in lines[1]
    assert lines[2].endswith(" 3")


def test_a_table_in_80_columns_folds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns nothing is lost and no line is longer."""
    monkeypatch.setenv("COLUMNS", "80")
    output.table(("A", "B"), [("short", _WIDE)])
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.count("x") == 150


def test_ids_stay_whole_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be copied is never cut, and times are not folded: sentences give way first."""
    monkeypatch.setenv("COLUMNS", "80")
    run, reason = "r2a24aac4697074dad09dbba3", "execution timed out after 2 s"
    columns = ("RUN", "TRIGGER", "DUE (UTC)", "STATE", "REASON")
    due = "2026-11-21 16:23:25"
    output.table(columns, [(run, "import", due, "dead", reason)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{run}  import   {due}  dead   execution timed"
    assert [line.strip() for line in lines[2:]] == ["out after 2 s"]
    output.table(columns, [(run, "a" * 20, due, "dead", "")], cut=("TRIGGER",))
    lines = capsys.readouterr().out.splitlines()
    assert "REASON" not in lines[0]
    assert lines[1:] == [f"{run}  {'a' * 20}  {due}  dead"]
    output.table(columns, [(run, "a" * 40, due, "dead", "")], cut=("TRIGGER",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [f"{run}  {'a' * 24}…  {due}  dead"]


def test_partitions_keep_their_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tells the names of a column apart stays where they are shortened."""
    monkeypatch.setenv("COLUMNS", "30")
    names = [f"/srv/incoming/of/many/places/{n}.log" for n in range(2)]
    output.table(
        ("PARTITION", "DONE"),
        [(name, "4096") for name in names],
        cut=("PARTITION",),
        ends=("PARTITION",),
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0][-7:] for line in lines[1:]] == ["s/0.log", "s/1.log"]
    assert all("…" in line and len(line) <= 30 for line in lines[1:])


@pytest.mark.parametrize("columns", [80, 120, 150])
def test_a_run_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """A list of runs fits the terminal, a line for each; wide terminals have the keys as well."""
    monkeypatch.setenv("COLUMNS", str(columns))
    run = {"id": _ID, "trigger": "orders-of-the-shop", "due_at": "2026-11-21T16:23:25Z"}
    run |= {"partition": "orders/0", "key": "orders/0/1200-1300", "reason": "out of time " * 9}
    items = [{**run, "state": state, "attempts": [{}]} for state in ("succeeded", "dead")]
    show_runs({"items": items, "next": None})
    head, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("…") and len(line) <= columns for line in lines)
    assert [name in head for name in ("TRIES", "KEY")] == [columns >= 100, columns >= 140]


@pytest.mark.parametrize(
    ("cut", "shown"),
    [
        (("NAME",), ["a" * 26 + "…", _ID, "dead"]),
        (("RUN", "NAME"), ["a" * 40, "r2a24aac469…", "dead"]),
        ((), ["a" * 40, _ID, "dead"]),
    ],
)
def test_what_may_be_cut_gives_way(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cut: tuple[str, ...],
    shown: list[str],
) -> None:
    """On a narrow terminal the columns that may be cut end in …, in their order; in a pipe none."""
    monkeypatch.setenv("COLUMNS", "61")
    output.table(("NAME", "RUN", "STATE"), [("a" * 40, _ID, "dead")], cut=cut)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == shown
    assert not cut or max(map(len, lines)) <= 61
    monkeypatch.delenv("COLUMNS")
    output.table(("NAME", "RUN", "STATE"), [("a" * 40, _ID, "dead")], cut=cut)
    assert capsys.readouterr().out.splitlines()[1].split() == ["a" * 40, _ID, "dead"]


def test_facts_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long values go on below their beginning; names lose their middle, and nothing in a pipe."""
    name = "orch-a1b2c3-a-trigger-with-a-long-name-u1u2u3-2026-11-22t02-00-00z-0123456789abcdef-a1"
    for columns in ("50", None):
        if columns is None:
            monkeypatch.delenv("COLUMNS")
        else:
            monkeypatch.setenv("COLUMNS", columns)
        output.facts({"job": output.middle(name, 5), "why": "word " * 20})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-2])) <= 50
    assert lines[0].startswith("job  orch-a1b2c3-a-")
    assert lines[0].endswith("…56789abcdef-a1")
    assert [line[:6] for line in lines[1:-2]] == ["why  w", "     w", "     w"]
    assert lines[-2:] == [f"job  {name}", f"why  {'word ' * 20}".rstrip()]


@pytest.mark.parametrize(
    ("code", "state", "shown"),
    [(-1, "succeeded", []), (0, "succeeded", ["0"]), (-1, "failed", ["-1"]), (3, "failed", ["3"])],
)
def test_an_exit_code_is_shown_where_it_says_something(
    monkeypatch: pytest.MonkeyPatch, code: int, state: str, shown: list[str]
) -> None:
    """The -1 of a WebAssembly task that ended well is not in `runs show`, unlike all others."""
    times = dict.fromkeys(("due_at", "started_at", "ended_at", "submitted_at"))
    attempt = {"number": 1, "job_name": "j", "job_id": "", "node_id": "", "stdout": "", **times}
    attempt |= {"state": state, "reason": "", "exit_code": code, "stderr": ""}
    run = {"id": "r1", "trigger": "t", "version": 1, "key": "k", "state": state, "reason": ""}
    answer = {**run, **times, "kept": None, "attempts": [attempt]}
    monkeypatch.setattr(http.Api, "get", lambda *_: answer)
    lines = orch("runs", "show", "r1").out.splitlines()
    assert [line.split()[-1] for line in lines if "exit code" in line] == shown


def test_the_record_of_a_dead_run_is_shown(monkeypatch: pytest.MonkeyPatch, zone: None) -> None:
    """`runs show` has what is kept of a poison record, and until when its range is there."""
    kept = {"record": {"offset": 7, "value": "bäd"}, "expires_at": "2026-11-28T10:00:00Z"}
    times = dict.fromkeys(("due_at", "started_at", "ended_at"))
    found = {"id": "r1", "trigger": "t", "version": 3, "key": "logs/0/7-8", "state": "dead"}
    answer = {**found, **times, "reason": "exit 1", "kept": kept, "attempts": []}
    monkeypatch.setattr(http.Api, "get", lambda *_: answer)
    lines = orch("runs", "show", "r1").out.splitlines()
    assert 'record         {"offset": 7, "value": "bäd"}' in lines
    assert "trigger        t, version 3" in lines
    assert "expires (CET)  2026-11-28 11:00:00" in lines


def test_text_from_outside_cannot_write_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Escapes, markup and line breaks in a cell stay text."""
    output.table(("A",), [("\x1b[2J[bold]a[/bold]\nb",)])
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "[bold]a[/bold] b" in text


def test_no_colours_unless_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR turns them off on a terminal; elsewhere there are none."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert not output.coloured()
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.coloured()


@pytest.mark.usefixtures("zone")
def test_times_are_local_and_say_when_the_offset_is_another() -> None:
    """A time of the other half of the year carries its offset."""
    winter, summer = output.clock("2026-01-01T12:00:00Z"), output.clock("2026-07-01T12:00:00Z")
    assert winter.startswith("2026-01-01 13:00:00")
    assert summer.startswith("2026-07-01 14:00:00")
    assert winter.endswith("+0100") != summer.endswith("+0200")
    assert output.clock(None) == "-"


def test_counts_are_readable() -> None:
    """The counting task's JSON is told in words; anything else is shown as it is."""
    text = '{"files":1,"bytes":9,"lines":1200,"levels":{"warn":2},"status":{"2xx":1198}}\n'
    assert readable(text) == "1,200 lines  2xx 1,198  warn 2"
    assert readable("hello\nworld") == "hello"
    assert readable('{"lines": "x"}') == '{"lines": "x"}'


def test_a_wasm_task_that_returned_is_ok() -> None:
    """The node's -1 of a WebAssembly task that ended well is not shown as a failure."""
    run = {
        "id": "r",
        "due_at": "2026-01-01T00:00:00Z",
        "trigger": "t",
        "state": "succeeded",
        "reason": "",
        "attempts": [{"exit_code": -1, "stdout": "hi\n"}],
    }
    assert row(run).exit_code == "ok"
    assert row({**run, "state": "dead"}).exit_code == "-1"


def test_success_has_one_word() -> None:
    """However the node tells it; and while a run is under way there is no exit code."""
    run = {"id": "r", "due_at": "2026-01-01T00:00:00Z", "trigger": "t", "reason": ""}
    run |= {"attempts": [{"exit_code": 0, "stdout": ""}]}
    states = ("succeeded", "running", "pending")
    assert [row({**run, "state": state}).exit_code for state in states] == ["ok", "", ""]
