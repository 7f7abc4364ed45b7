"""Trigger files, checked and kept for sending: their texts on disk, however many they are."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import specs
from orchestrator.cli import files
from orchestrator.operations.checking import CheckedFile

_IN_MEMORY = 16 * 1024 * 1024  # bytes; more goes into a temporary file without a name
_PIECE = 5000  # triggers in one request
_PIECE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A trigger as its file says it.

    `body` is what is sent, as JSON; `library` tells which job of the library it leaves out.
    """

    source: str
    name: str
    body: bytes
    library: str | None


class Gathered:
    """Files without a fault. A context manager: leaving it forgets them."""

    def __init__(self) -> None:
        self._texts = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - __exit__ closes it
        self._names: set[str] = set()
        self._library: dict[str, Any] = {}

    def __enter__(self) -> Gathered:
        return self

    def __exit__(self, *exception: object) -> None:
        self._texts.close()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, source: str, checked: CheckedFile) -> None:
        """Keep a file. Raises SpecError for a name that another one has."""
        name = checked.file.name
        if name in self._names:
            message = f"{self._source(name)} is called {name!r} too"
            raise specs.SpecError([checked.file.problem(("name",), message, "Rename one of them")])
        self._names.add(name)
        library = None
        if checked.file.job_dir is not None:
            library = checked.file.document.file
            self._library[library] = checked.job
        body = json.dumps(files.body_of(checked), separators=(",", ":"))
        self._texts.seek(0, os.SEEK_END)
        self._texts.write(f"{json.dumps([source, name, library])}\n{body}\n".encode())

    def __iter__(self) -> Iterator[Wanted]:
        """All of them, in the order in which they were found."""
        self._texts.seek(0)
        while head := self._texts.readline():
            source, name, library = json.loads(head)
            body = self._texts.readline().rstrip(b"\n")
            yield Wanted(source=source, name=name, body=body, library=library)

    def pieces(self) -> Iterator[list[Wanted]]:
        """The same in parts that fit into one request each."""
        piece: list[Wanted] = []
        size = 0
        for one in self:
            if piece and (len(piece) == _PIECE or size + len(one.body) > _PIECE_BYTES):
                yield piece
                piece, size = [], 0
            piece.append(one)
            size += len(one.body)
        if piece:
            yield piece

    def whole(self, one: Wanted) -> dict[str, Any]:
        """The document that `diff` compares: with a job also where the library has it."""
        document = json.loads(one.body)
        if one.library is not None:
            document["job"] = self._library[one.library]
        return document

    def _source(self, name: str) -> str:
        return next(one.source for one in self if one.name == name)


def gather(paths: Sequence[Path]) -> Gathered:
    """Read and check files. Raises CliError with the faults of all unless there is none."""
    checker = files.new_checker()
    problems: list[specs.Problem] = []
    alike = files.Alike()
    with ExitStack() as unless_kept:
        found = unless_kept.enter_context(Gathered())
        with Progress("checked") as progress:
            for path in files.find(paths):
                source = files.read(path)
                try:
                    found.add(source.name, files.check(checker, source, alike))
                except specs.SpecError as error:
                    problems += error.problems
                progress.step()
        if problems:
            raise files.problems_error(problems)
        unless_kept.pop_all()
    return found


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
        self.hide()

    def hide(self) -> None:
        """Make room for other lines until the next step."""
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def step(self, number: int = 1) -> None:
        """Count on."""
        before, self._done = self._done, self._done + number
        if sys.stderr.isatty() and before // 500 != self._done // 500:
            self._shown = True
            sys.stderr.write(f"\r{self._done:,}{self._total} {self._verb}")
            sys.stderr.flush()
