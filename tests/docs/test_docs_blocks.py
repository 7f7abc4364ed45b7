"""What the documentation shows is what happens."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.docs.conftest import Stage
from tests.support.markdown import ROOT, Block, Command, blocks, commands, documents, shows
from tests.support.waiting import until

_LANGUAGES = {"console", "yaml", "json", "python", "bash", "mermaid"}
_NOT_RUN_AT_MOST = 16
# Commands that change nothing: asked again until they show what the page shows.
_ASKING = (
    *("runs list", "runs show", "triggers list", "triggers show", "status", "dead list"),
    "checkpoints show",
)
_MINIMUM: Mapping[str, Any] = {"apiVersion": "orch/v1", "kind": "cron", "name": "fragment"}


def _id(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", documents(), ids=_id)
def test_every_block_of_a_page_does_what_it_says(file: Path, request: pytest.FixtureRequest):
    """Commands print what stands below them, files are valid, programs end well."""
    found = [block for block in blocks(file) if not block.not_run]
    if not any(block.language != "mermaid" for block in found):
        return
    stage: Stage = request.getfixturevalue("stage")
    if any("$BROKERS" in block.text for block in found):
        stage.environment["BROKERS"] = request.getfixturevalue("kafka").bootstrap
    for block in found:
        _RUNNERS[block.language](stage, block)


def test_every_block_names_a_language_that_is_checked():
    """A block without a language, or with an unknown one, would be checked by nobody."""
    wrong = [
        f"{block.place}: {block.language or 'no language'}"
        for file in documents()
        for block in blocks(file)
        if block.language not in _LANGUAGES and not block.not_run
    ]
    assert not wrong


def test_few_blocks_are_not_run_and_each_says_why(capsys: pytest.CaptureFixture[str]):
    """What no test runs is listed, has a reason, and stays rare."""
    left = [block for file in documents() for block in blocks(file) if block.not_run]
    with capsys.disabled():
        for block in left:
            print(f"\n  not run: {block.place}: {block.not_run}", end="")
    assert all(len(block.not_run) > 15 for block in left)
    assert len(left) <= _NOT_RUN_AT_MOST


def _console(stage: Stage, block: Block) -> None:
    steps = commands(block)
    assert steps, f"{block.place}: no `$ ` line"
    for step in steps:
        code = block.exit_code if step is steps[-1] else 0
        _step(stage, block, step, code)


def _step(stage: Stage, block: Block, step: Command, code: int) -> None:
    seen: list[tuple[int, str]] = []

    def look() -> bool:
        seen.append(stage.run(step.line))
        got, output = seen[-1]
        wanted = not step.output or shows(step.output, output, varies=block.varies)
        return got == code and wanted

    if any(f"orch {asking}" in step.line for asking in _ASKING):
        until(look, f"{block.place}: $ {step.line}", within=150, show=lambda: seen[-1][1])
        return
    begun = time.monotonic()
    assert look(), (
        f"{block.place}: $ {step.line}\nstated:\n{step.output}\ngot, with exit code {seen[-1][0]} "
        f"after {time.monotonic() - begun:.1f} s:\n{seen[-1][1]}"
    )


def _yaml(stage: Stage, block: Block) -> None:
    data = cast(dict[str, Any], yaml.safe_load(block.text))
    if block.name == "orch.yaml":
        (stage.directory / block.name).write_text(block.text)
        return
    name = block.name or "block.yaml"
    text = block.text
    if "apiVersion" not in data and "Type" not in data:
        timed = data.get("kind", "cron") != "cron" or data.keys() & {"schedule", "every", "at"}
        when = {} if timed else {"every": "1m"}
        text = yaml.safe_dump({**_MINIMUM, **when, **data})
    (stage.directory / name).write_text(text)
    code, output = stage.run(f"orch validate -f {name}")
    assert code == block.exit_code, f"{block.place}:\n{output}"


def _json(stage: Stage, block: Block) -> None:
    json.loads(block.text)
    if block.name:
        (stage.directory / block.name).write_text(block.text)


def _python(stage: Stage, block: Block) -> None:
    name = block.name or "block.py"
    (stage.directory / name).write_text(block.text)
    if block.name:
        return
    code, output = stage.run(f"{sys.executable} -W error {name}")
    assert code == block.exit_code, f"{block.place}:\n{output}"


def _bash(stage: Stage, block: Block) -> None:
    if block.name:
        (stage.directory / block.name).write_text(block.text)
        return
    code, output = stage.run(f"set -euo pipefail\n{block.text}")
    assert code == block.exit_code, f"{block.place}:\n{output}"


def _mermaid(stage: Stage, block: Block) -> None:
    assert block.text.split()[0] in {"flowchart", "sequenceDiagram", "stateDiagram-v2"}


_RUNNERS = {
    "console": _console,
    "yaml": _yaml,
    "json": _json,
    "python": _python,
    "bash": _bash,
    "mermaid": _mermaid,
}
