"""What stands in the source itself: states, errors, failpoints."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import bacalhau_client
from bacalhau_client import BacalhauError
from generator.markdown import code, fenced, page, sentence, table
from orchestrator.domain import signals, states

ROOT = Path(__file__).resolve().parents[2]
_MEMBER = re.compile(r"^    \w+ = \"(?P<value>\w+)\"  # (?P<comment>.+)$", re.MULTILINE)
_WRITES = {"write", "submit", "_submit"}
_STORES = ("self.", "database.")  # who writes: a store that is open, or a part of it


def all_states() -> str:
    """States of runs, attempts and triggers."""
    parts = ["How one becomes another: [states of runs and attempts](../state-machine.md)."]
    for enum, title in (
        (states.RunState, "Runs"),
        (states.Queue, "Where a pending run waits"),
        (states.AttemptState, "Attempts"),
        (states.Origin, "What asked for a run"),
        (states.TriggerState, "Triggers"),
        (signals.Topic, "Signals between services"),
    ):
        parts += [f"## {title}", table(("Name", "Meaning"), _members(enum))]
    return page("States", *parts)


def _members(enum: type[StrEnum]) -> list[tuple[str, str]]:
    """The members with the comments beside them."""
    found = {m["value"]: m["comment"] for m in _MEMBER.finditer(inspect.getsource(enum))}
    return [(code(member.value), found.get(member.value, "")) for member in enum]


def client_errors() -> str:
    """The exception tree of `bacalhau_client`."""
    module = inspect.getmodule(BacalhauError)
    text = inspect.getdoc(module) or ""
    tree = text.partition("::\n\n")[2].partition("\n\n``")[0]
    rows = [
        (code(error.__name__), "yes" if error.maybe_sent else "", sentence(error.__doc__ or ""))
        for error in _tree(BacalhauError)
    ]
    return page(
        "Errors of the client",
        "What `bacalhau_client` raises. *Maybe sent* means that the node may have done what was "
        "asked, or may still do it: look the job up by its name before deciding anything else.",
        fenced(inspect.cleandoc(tree)),
        table(("Error", "Maybe sent", "Meaning"), rows),
    )


def _tree(error: type[BacalhauError]) -> Iterator[type[BacalhauError]]:
    if error.__name__ in bacalhau_client.__all__:
        yield error
    for child in error.__subclasses__():
        yield from _tree(child)


def failpoints() -> str:
    """Every name that `ORCH_FAILPOINTS` may hold."""
    points: dict[str, set[str]] = {}
    labels: dict[str, set[str]] = {}
    for file in sorted((ROOT / "orchestrator").rglob("*.py")):
        place = file.relative_to(ROOT).as_posix()
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            texts = [getattr(argument, "value", None) for argument in call.args]
            text = next((t for t in texts if isinstance(t, str) and t.isprintable()), "")
            if name == "reach" and text:
                points.setdefault(text, set()).add(place)
            elif name in _WRITES and text and ast.unparse(call.func).startswith(_STORES):
                labels.setdefault(text, set()).add(place)
    return page(
        "Failpoints",
        '`ORCH_FAILPOINTS="send.after=1,commit.accept.before=3"` lets the process die by SIGKILL '
        "when the point is reached for the given time. For tests; see "
        "[decision 0009](../decisions/0009-failpoints.md).",
        "## Between effects",
        table(("Point", "Where"), _rows(points)),
        "## Around commits",
        "Each label names two points, `commit.<label>.before` and `commit.<label>.after`.",
        table(("Label", "Where"), _rows(labels)),
    )


def _rows(found: dict[str, set[str]]) -> list[tuple[str, str]]:
    return [(code(k), ", ".join(code(p) for p in sorted(v))) for k, v in sorted(found.items())]
