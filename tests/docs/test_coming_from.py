"""`docs/coming-from.md`: each line of its tables is run.

A piece of code in the right column is a command (`orch …`), a request (`GET /…`), a setting of the
daemon (`ORCH_…=`), or lines of a trigger file; those of one cell make one trigger. What is none of
these names something, and a line must have at least one that is.
"""

from __future__ import annotations

import json
import re
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

import specs
from orchestrator import config
from tests.docs.conftest import Stage
from tests.support.cli import orch
from tests.support.markdown import ROOT, blocks, commands

_PAGE = ROOT / "docs" / "coming-from.md"
_SECTION = re.compile(r"^##+ (?P<title>.+)$")
_CODE = re.compile(r"`([^`]+)`")
_REQUEST = re.compile(r"(?P<method>GET|POST|DELETE) (?P<path>/\S+)(?: (?P<body>\{.*\}))?")
_OF_A_TASK = ("Env", "Network", "Resources")
_NOT_ENDED = ("cancel", "DELETE")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a table: what there was, and the pieces of code for here."""

    number: int
    there: str
    here: tuple[str, ...]


def _tables() -> Mapping[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    title = ""
    for number, text in enumerate(_PAGE.read_text().splitlines(), 1):
        section = _SECTION.match(text)
        title = section["title"] if section else title
        if text.startswith("| ") and not text.startswith(("| --- ", "| There |")):
            there, here = text.strip("| ").split(" | ")
            line = Line(number=number, there=there, here=tuple(_CODE.findall(here)))
            found.setdefault(title, []).append(line)
    return found


@pytest.mark.parametrize("section", _tables())
def test_every_line_does_what_it_says(
    section: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands end with 0, requests with 2xx, and trigger files are valid."""
    monkeypatch.chdir(stage.directory)
    for block in blocks(_PAGE):
        if block.name:
            (stage.directory / block.name).write_text(block.text)
        for step in commands(block) if block.language == "console" else ():
            _run(stage, step.line)
    (stage.directory / "clean.sh").write_text("#!/bin/sh\nrm -f /data/old\n")
    (stage.directory / "triggers").mkdir()
    text = (stage.directory / "report.yaml").read_text().replace("name: report", "name: clean-up")
    (stage.directory / "triggers" / "clean-up.yaml").write_text(text)
    for line in _tables()[section]:
        assert list(_done(stage, line)), f"line {line.number}: {line.there}: nothing is run"


def test_every_system_is_there() -> None:
    """The page has a table for each, and none of them is a stub."""
    tables = _tables()
    assert len(tables) == 7
    assert sum(map(len, tables.values())) > 120
    assert all(len(lines) >= 5 for lines in tables.values())


def _done(stage: Stage, line: Line) -> Iterator[str]:
    """Do what a line says; what was done."""
    file: dict[str, Any] = {}
    for code in line.here:
        place = f"docs/coming-from.md:{line.number}: {code}"
        request = _REQUEST.fullmatch(code)
        if request or code.startswith("orch "):
            if "{id}" in code or "RUN" in code.split():
                run = _job(stage, ended=not any(word in code for word in _NOT_ENDED))
                code = re.sub(r"\{id\}|\bRUN\b", run, code)
                request = _REQUEST.fullmatch(code)
            if request:
                _ask(stage, request, place)
            else:
                _run(stage, code, place)
            yield code
        elif code.startswith("ORCH_"):
            name, _, value = code.partition("=")
            if value:
                config.load({}, {name: value})
                yield code
        elif ": " in code:
            lines = specs.load(code).data
            if file.keys() & lines.keys():  # another way to say it
                yield _valid(stage, file | lines, place)
            else:
                file |= lines
    if file:
        yield _valid(stage, file, f"docs/coming-from.md:{line.number}")


def _valid(stage: Stage, lines: Mapping[str, Any], place: str) -> str:
    kind = lines.get("kind", "cron")
    whole: dict[str, Any] = {"apiVersion": "orch/v1", "kind": kind, "name": "line", **lines}
    if kind == "cron" and not lines.keys() & {"schedule", "every"}:
        whole["every"] = "1h"
    of_task = {key: whole.pop(key) for key in _OF_A_TASK if key in whole}
    if of_task:
        engine = {"Type": "docker", "Params": {"Image": "alpine:3.20"}}
        whole["job"] = {"Type": "batch", "Tasks": [{"Name": "a", "Engine": engine, **of_task}]}
    (stage.directory / "line.json").write_text(json.dumps(whole))
    return _run(stage, "orch validate -f line.json", place)


def _run(stage: Stage, command: str, place: str = "") -> str:
    """Carry out a command in this process: there are many."""
    _, *arguments = shlex.split(command)
    done = orch(*arguments, env={"ORCH_URL": stage.environment["ORCH_URL"]})
    assert done.code == 0, f"{place or command}\n{done.out}{done.err}"
    return done.out


def _job(stage: Stage, *, ended: bool) -> str:
    """A job that has ended, or one that waits."""
    asked = (
        'POST /jobs?wait=60s {"template": "greet"}'
        if ended
        else 'POST /jobs {"template": "greet", "delay": "1d"}'
    )
    request = _REQUEST.fullmatch(asked)
    assert request
    return json.loads(_ask(stage, request, "a job"))["id"]


def _ask(stage: Stage, request: re.Match[str], place: str) -> bytes:
    url = stage.environment["ORCH_URL"] + request["path"]
    body = None if request["body"] is None else request["body"].encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(url, body, headers, method=request["method"])
    try:
        with urllib.request.urlopen(asked, timeout=90) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        pytest.fail(f"{place}\n{error.read().decode()}")
