"""Applies trigger files: many new ones together, the others one by one."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import specs
from orchestrator.cli import files, output
from orchestrator.cli.errors import FAILED, say
from orchestrator.cli.http import Api, Refused, segment

_BATCH = 1000  # triggers
_BATCH_BYTES = 16 * 1024 * 1024
_ALONE = 20  # fewer new ones than this are not worth a batch
_SHOWN = 200  # lines about single triggers, for people


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A trigger as its file says it: `body` is what is sent, `whole` what is compared."""

    source: str
    name: str
    body: dict[str, Any]
    whole: dict[str, Any]


def carry_out(paths: Sequence[Path], *, reset: bool, url: str | None, as_json: bool) -> None:
    """Check all files, then apply them."""
    wanted = list(gather(paths))
    api = Api(url)
    results = [
        {"file": one.source, "name": one.name, "action": action, "error": error}
        for one, action, error in _Applier(api, reset=reset).apply(wanted)
    ]
    counts = Counter(str(r["action"]) for r in results)
    if as_json:
        output.as_json({"items": results, "next": None})
    else:
        for result in results[:_SHOWN]:
            if result["action"] != "failed":
                output.line(f"{result['name']}: {result['action']}")
        if len(results) > 1:
            output.line(", ".join(f"{n:,} {action}" for action, n in sorted(counts.items())))
    for result in results:
        if result["action"] == "failed":
            say(f"orch: {result['file']}: {result['error']}")
    if counts["failed"]:
        sys.stdout.flush()
        raise SystemExit(FAILED)


def gather(paths: Sequence[Path]) -> Iterator[Wanted]:
    """Read and check files; none is yielded unless all are without a fault. Raises CliError."""
    checker = files.new_checker()
    problems: list[specs.Problem] = []
    found: list[Wanted] = []
    first: dict[str, str] = {}
    with Progress("checked") as progress:
        for path in files.find(paths):
            source = files.read(path)
            try:
                checked = files.check(checker, source)
            except specs.SpecError as error:
                problems += error.problems
                continue
            name = checked.file.name
            if name in first:
                message = f"{first[name]} is called {name!r} too"
                problems.append(checked.file.problem(("name",), message, "Rename one of them"))
                continue
            first[name] = source.name
            whole, body = checked.stated(), files.body_of(checked)
            found.append(Wanted(source=source.name, name=name, body=body, whole=whole))
            progress.step()
    if problems:
        raise files.problems_error(problems)
    yield from found


class Progress:
    """A counter on the terminal's last line; nothing where stderr is none."""

    def __init__(self, verb: str, total: int | None = None) -> None:
        self._verb = verb
        self._total = f" of {total:,}" if total is not None else ""
        self._done = 0
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def step(self, number: int = 1) -> None:
        """Count on."""
        before, self._done = self._done, self._done + number
        if sys.stderr.isatty() and before // 500 != self._done // 500:
            self._shown = True
            sys.stderr.write(f"\r{self._done:,}{self._total} {self._verb}")
            sys.stderr.flush()


class _Applier:
    def __init__(self, api: Api, *, reset: bool) -> None:
        self._api = api
        self._reset = reset

    def apply(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, str, str | None]]:
        """What was done with each: created, changed, unchanged or failed with its reason."""
        known: set[str] | None = None
        if len(wanted) >= _ALONE:
            known = {str(item["name"]) for item in self._api.pages("triggers")}
        with Progress("applied", len(wanted)) as progress:
            new = [w for w in wanted if known is not None and w.name not in known]
            for batch in _batches(new):
                yield from self._create(batch)
                progress.step(len(batch))
            for one in wanted:
                if known is None or one.name in known:
                    yield self._put(one)
                    progress.step()

    def _create(self, batch: Sequence[Wanted]) -> Iterator[tuple[Wanted, str, str | None]]:
        try:
            self._api.post("triggers:batch", {"triggers": [one.body for one in batch]})
        except Refused:
            # One of them is refused, or was registered meanwhile: each for itself tells which.
            yield from map(self._put, batch)
            return
        yield from ((one, "created", None) for one in batch)

    def _put(self, one: Wanted) -> tuple[Wanted, str, str | None]:
        try:
            answer = self._api.put(
                f"triggers/{segment(one.name)}", one.body, reset=self._reset or None
            )
        except Refused as error:
            if error.status in (401, 403, 421):
                raise
            return one, "failed", str(error)
        return one, str(answer["action"]), None


def _batches(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Parts that fit into one request."""
    queue = iter(wanted)
    while True:
        batch: list[Wanted] = []
        size = 0
        for one in itertools.islice(queue, _BATCH):
            batch.append(one)
            size += len(json.dumps(one.body))
            if size > _BATCH_BYTES:
                break
        if not batch:
            return
        yield batch
