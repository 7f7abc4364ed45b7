"""A JSON reader that knows where each value stands; YAML that only starts like JSON is read too."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from specs._problems import Path, Problem, SpecError, collect, quoted
from specs._yaml import MAX_DEPTH, read_yaml

if TYPE_CHECKING:
    from specs._document import Places

_LOOKS_LIKE_JSON = re.compile(r'\s*\{\s*"')
_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')


def read_json(text: str, file: str) -> tuple[Any, Places]:
    """Read one JSON document into plain data and a finder of positions. Raises SpecError."""
    reader = _Reader(text, file)
    try:
        data = reader.document()
    except _SyntaxProblem as error:
        line, column = reader.line_column(error.at)
        problem = Problem(
            path=(),
            message=f"not JSON: {error}",
            remedy="Check commas, quotes and brackets here and just before",
            line=line,
            column=column,
            file=file,
        )
        if not file.endswith(".json"):
            try:
                return read_yaml(text, file)
            except SpecError:
                if not _LOOKS_LIKE_JSON.match(text):
                    raise
        raise SpecError([problem]) from error
    if reader.problems:
        raise SpecError(reader.problems)
    return data, reader.find


class _SyntaxProblem(Exception):
    def __init__(self, at: int, message: str) -> None:
        self.at = at
        super().__init__(message)


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.at = 0
        self.problems: list[Problem] = []
        self.offsets: dict[Path, int] = {}

    def document(self) -> Any:
        value = self.value((), 0)
        self.space()
        if self.at < len(self.text):
            self.fail("something follows the end of the document")
        return value

    def find(self, path: Path) -> tuple[int, int] | None:
        for end in range(len(path), -1, -1):
            if path[:end] in self.offsets:
                return self.line_column(self.offsets[path[:end]])
        return None

    def line_column(self, offset: int) -> tuple[int, int]:
        line = self.text.count("\n", 0, offset)
        return line + 1, offset - (self.text.rfind("\n", 0, offset) + 1) + 1

    def fail(self, message: str) -> NoReturn:
        raise _SyntaxProblem(self.at, message)

    def space(self) -> str:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def value(self, path: Path, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self.fail(f"nested more than {MAX_DEPTH} levels deep")
        mark = self.space()
        self.offsets.setdefault(path, self.at)
        if mark == "{":
            return self.object(path, depth)
        if mark == "[":
            return self.array(path, depth)
        if mark == '"':
            return self.string(path)
        match = _SCALAR.match(self.text, self.at)
        if match is None:
            self.fail("a value is missing")
        start, self.at = self.at, match.end()
        value = json.loads(match[0]) if len(match[0]) < 400 else float("inf")
        whole = isinstance(value, int)
        if (whole and not -(2**63) <= value < 2**63) or (
            not whole and value in (float("inf"), float("-inf"))
        ):
            message = f"the number {quoted(match[0])} does not fit into 64 bits"
            self.add(start, path, message, "If it is text, put it in quotes")
        return value

    def object(self, path: Path, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        self.at += 1
        if self.space() == "}":
            self.at += 1
            return result
        while True:
            if self.space() != '"':
                self.fail("a key in double quotes is missing")
            start = self.at
            key = self.string(path)
            if key in result:
                message = f"the key {quoted(key)} stands here twice"
                self.add(start, (*path, key), message, "Remove one of the two")
            self.offsets.setdefault((*path, key), start)
            if self.space() != ":":
                self.fail("a colon is missing")
            self.at += 1
            result[key] = self.value((*path, key), depth + 1)
            if self.separator("}"):
                return result

    def array(self, path: Path, depth: int) -> list[Any]:
        result: list[Any] = []
        self.at += 1
        if self.space() == "]":
            self.at += 1
            return result
        while True:
            result.append(self.value((*path, len(result)), depth + 1))
            if self.separator("]"):
                return result

    def separator(self, end: str) -> bool:
        mark = self.space()
        if mark not in (",", end) or not mark:
            self.fail(f"a comma or {end} is missing")
        self.at += 1
        return mark == end

    def string(self, path: Path) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:
            self.fail("the text in quotes does not end")
        start, self.at = self.at, match.end()
        try:
            value: str = json.loads(match[0])
        except ValueError:
            self.at = start
            self.fail("a backslash starts no known escape")
        if "\0" in value:
            self.add(start, path, "the text holds a NUL character", "Remove it")
        if _SURROGATE.search(value):
            self.add(
                start, path, "the text holds half of a surrogate pair", "Write whole characters"
            )
        return value

    def add(self, offset: int, path: Path, message: str, remedy: str) -> None:
        line, column = self.line_column(offset)
        collect(
            self.problems,
            Problem(
                path=path,
                message=message,
                remedy=remedy,
                line=line,
                column=column,
                file=self.file,
            ),
        )
