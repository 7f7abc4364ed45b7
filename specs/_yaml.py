"""A YAML reader that keeps positions and trusts nothing.

libyaml composes nodes; the values are read here, because PyYAML's own constructors follow
YAML 1.1 (`on` is true, `012` is ten, dates become objects) and let duplicate keys pass.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from specs._problems import Path, Problem, SpecError, collect, quoted

if TYPE_CHECKING:
    from specs._document import Places

MAX_DEPTH = 100
MAX_NODES = 200_000

_PLAIN = "plain"
_OTHER = "other"
_CORE = "tag:yaml.org,2002:"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}


class _Deep(yaml.YAMLError):
    """Nested deeper than MAX_DEPTH."""


class _Resolver:
    """Tells plain scalars from others; bounds the depth on the way, as composing recurses."""

    def __init__(self) -> None:
        self.depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Deep

    def ascend_resolver(self) -> None:
        self.depth -= 1

    def resolve(self, kind: type[yaml.Node], value: object, implicit: Any) -> str:
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else _OTHER


class _PurePython(Reader, Scanner, Parser, Composer, _Resolver):
    """For platforms whose PyYAML was built without libyaml."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Resolver.__init__(self)


def _loader() -> type[Any]:
    try:
        parser: Any = importlib.import_module("yaml._yaml").CParser
    except ImportError:
        return _PurePython

    def start(self: Any, text: str) -> None:
        parser.__init__(self, text)
        self.depth = 0

    return type("_Libyaml", (parser, _Resolver), {"__init__": start})


_Loader = _loader()


def read_yaml(text: str, file: str) -> tuple[Any, Places]:
    """Read one YAML document into plain data and a finder of positions. Raises SpecError."""
    try:
        root = compose(text)
    except _Deep:
        raise _failure(file, f"nested more than {MAX_DEPTH} levels deep", "Flatten it") from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, file) from error
    except (yaml.YAMLError, ValueError) as error:
        message = str(error).splitlines()[0]
        raise _failure(file, f"not YAML: {message}", "Remove the character") from error
    builder = _Builder(file)
    data = None if root is None else builder.build(root, ())
    if builder.problems:
        raise SpecError(builder.problems)
    return data, lambda path: find(root, path)


class _Builder:
    """Turns nodes into plain data and collects what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.nodes = 0
        self.open: set[int] = set()

    def build(self, node: yaml.Node, path: Path) -> Any:
        """Build a node's value; a node that is wrong gives None and a problem."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise SpecError(
                [self.problem(node, path, "the aliases expand to too much", "Write it out")]
            )
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if id(node) in self.open:
            self.add(node, path, "an alias refers to itself", "Remove the alias")
            return None
        if node.tag != _OTHER and node.tag not in (f"{_CORE}map", f"{_CORE}seq"):
            self.tag(node, path)
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self.add(key_node, path, "a key must be text", "Write it as a plain word")
            elif key_node.tag == _PLAIN and not isinstance(self.scalar(key_node, path), str):
                message = f"the key {key or 'null'} is not text"
                self.add(key_node, path, message, f"Put it in quotes: '{key}'")
            elif key_node.tag == _PLAIN and key == "<<":
                self.add(key_node, path, "merge keys (<<) are not supported", "Write the keys out")
            elif key in result:
                message = f"the key {quoted(key)} stands here twice, first in line {lines[key]}"
                self.add(key_node, (*path, key), message, "Remove one of the two")
            else:
                self.text(key_node, key, path)
                result[key] = self.build(value_node, (*path, key))
                lines[key] = key_node.start_mark.line + 1
        return result

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text: str = node.value
        tag = node.tag
        if tag in (_OTHER, f"{_CORE}str"):
            return self.text(node, text, path)
        if tag == _PLAIN:
            if text in _WORDS:
                return _WORDS[text]
            match = _NUMBER.fullmatch(text)
            return self.text(node, text, path) if match is None else self.number(node, match, path)
        self.tag(node, path)
        return None

    def text(self, node: yaml.ScalarNode, text: str, path: Path) -> str:
        if "\0" in text:
            self.add(node, path, "the text holds a NUL character", "Remove it")
        return text

    def number(self, node: yaml.ScalarNode, match: re.Match[str], path: Path) -> int | float:
        if match[1] is None and match[2] is None:
            value = int(match[0])
            if -(2**63) <= value < 2**63:
                return value
        else:
            number = float(match[0])
            if abs(number) != float("inf"):
                return number
        message = f"{match[0]} does not fit into 64 bits"
        self.add(node, path, message, f"If it is text, put it in quotes: '{match[0]}'")
        return 0

    def tag(self, node: yaml.Node, path: Path) -> None:
        tag = node.tag.replace(_CORE, "!!")
        self.add(node, path, f"tags such as {quoted(tag)} are not supported", "Remove the tag")

    def problem(self, node: yaml.Node, path: Path, message: str, remedy: str) -> Problem:
        mark = node.start_mark
        return Problem(
            path=path,
            message=message,
            remedy=remedy,
            line=mark.line + 1,
            column=mark.column + 1,
            file=self.file,
        )

    def add(self, node: yaml.Node, path: Path, message: str, remedy: str) -> None:
        collect(self.problems, self.problem(node, path, message, remedy))


def compose(text: str) -> yaml.Node | None:
    """The nodes of one YAML document. Raises yaml.YAMLError, ValueError."""
    return _Loader(text).get_single_node()


def find(root: yaml.Node | None, path: Path) -> tuple[int, int] | None:
    """Return (line, column) from 1 of a path, or of the nearest part of it that exists."""
    if root is None:
        return None
    node = root
    mark = root.start_mark
    for part in path:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == part:
                    node, mark = value_node, key_node.start_mark
                    break
            else:
                break
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return mark.line + 1, mark.column + 1


def _syntax_error(error: yaml.MarkedYAMLError, file: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    said = error.problem or "not YAML"
    line = mark.line + 1 if mark else None
    column = mark.column + 1 if mark else None
    if "found another document" in said or "single document" in (error.context or ""):
        message, remedy = "a second document starts here", "Put each trigger in a file of its own"
    elif "tab character" in said or "'\\t'" in said:
        message, remedy = "a tab stands where YAML wants spaces", "Indent with spaces"
    elif "undefined alias" in said:
        message, remedy = said, "Define the anchor first, or put the text in quotes"
    elif "expected alphabetic or numeric character" in said and "alias" in (error.context or ""):
        message = "not YAML: a value that begins with * stands without quotes"
        remedy = "Put it in quotes, as in '*/5 * * * *'"
    elif "did not find expected" in said or "mapping values" in said:
        message = f"not YAML: {said}"
        remedy = "Check the indentation, brackets and quotes here and in the line before"
    else:
        message, remedy = f"not YAML: {said}", "Check quotes and special characters here"
    problem = Problem(path=(), message=message, remedy=remedy, line=line, column=column, file=file)
    return SpecError([problem])


def _failure(file: str, message: str, remedy: str) -> SpecError:
    return SpecError(
        [Problem(path=(), message=message, remedy=remedy, line=None, column=None, file=file)]
    )
