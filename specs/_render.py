"""Fills a job's placeholders for one attempt and writes the request's bytes.

A job is compiled once: its JSON is cut at each placeholder, and rendering puts the values'
JSON between the pieces. Values go in as whole JSON strings, so that no value can change the
structure, and equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from specs._expressions import Expression, MissingValueError, Parts, as_text, look_up
from specs._inputs import InlineInput, InputError, added_sources, place
from specs._paths import BASE_PATHS, KnownPaths
from specs._problems import Path, dotted, sentence
from specs._schema import Boolean, Integer, Text
from specs._shapes import is_list, is_mapping, items, mapping
from specs._walk import Leaf, walk

MAX_SPEC = 512 * 1024
HARD_CAP = 900 * 1024
"""Above about 1 MB the node takes a spec and then stands still, with every job after it."""

LABEL_SPEC = "orch.spec"
_SECOND = 1_000_000
_MARK = re.compile(r'"\\u0000orch:(\w+)\\u0000"')
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


class RenderError(Exception):
    """A job that cannot be rendered for this run; `reason` is for people and holds no value."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TooLargeError(RenderError):
    """The rendered job is above the limit; `size` and `limit` are in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"the rendered job has {size:,} bytes, more than {limit:,}")

    def __reduce__(self) -> tuple[type[TooLargeError], tuple[int, int]]:
        return TooLargeError, (self.size, self.limit)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The body to PUT, `{"Job": …}`; `spec_hash` is 32 hex digits that name what is in it."""

    body: bytes
    spec_hash: str
    namespace: str


@dataclass(frozen=True, slots=True)
class _Hole:
    path: Path
    wanted: Leaf
    parts: Parts
    outside: bool


_Pieces = tuple[str | _Hole, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled job. Immutable, and may be used by several threads."""

    pieces: tuple[str | _Hole, ...]
    inputs: tuple[_Pieces, ...]
    env: Mapping[str, str | _Hole]
    labels: Mapping[str, str | _Hole]
    targets: frozenset[str]
    queue_timeout: int
    namespace: str
    placed: bool
    """Whether the job itself says on which nodes it runs, or waits for one to come."""
    digest: bytes

    def render(
        self,
        values: Mapping[str, Any],
        *,
        name: str,
        labels: Mapping[str, str],
        env: Mapping[str, str],
        timeouts: tuple[int, int],
        inputs: Sequence[Mapping[str, Any]] = (),
        inline_inputs: Sequence[InlineInput] = (),
        avoid_node: str = "",
        max_bytes: int = MAX_SPEC,
    ) -> Rendered:
        """Fill the template in for one attempt.

        `values` is nested: `{"firing": {"time": …}}`. `env` is set beside the task's own Env,
        `labels` beside the job's. `timeouts` are (execution, total) in microseconds, rounded up
        to seconds. The job's own input sources come first, then `inputs`, which are Bacalhau's
        (`{"Source": {"Type": …, "Params": …}, "Target": …}`, of the types s3, localDirectory,
        ipfs, inline and urlDownload), then `inline_inputs`; no two may have one target.
        With `avoid_node` the job does not run on the node of that name.
        Raises RenderError, and TooLargeError above `max_bytes`.
        """
        filled: list[str] = []
        own = {
            "NAME": encode(name),
            "TIMEOUTS": self._timeouts(*timeouts),
            "ENV": encode(self._env(values, env)),
            "INPUTS": self._inputs(values, inputs, inline_inputs, filled),
        }
        all_labels = {key: _text_of(item, values) for key, item in self.labels.items()}
        all_labels.update(labels)
        all_labels.pop(LABEL_SPEC, None)
        whole = [_piece(piece, values, filled) for piece in self.pieces]
        try:
            filled += (own["NAME"], own["TIMEOUTS"], own["ENV"], encode(all_labels), avoid_node)
            seen = "\0".join(filled).encode()
            spec_hash = hashlib.sha256(self.digest + seen).hexdigest()[:32]
            own["LABELS"] = encode({**all_labels, LABEL_SPEC: spec_hash})
            body = "".join([own[text[1:]] if text[0] == "\0" else text for text in whole])
            data = (_avoiding(body, avoid_node) if avoid_node else body).encode()
        except UnicodeEncodeError:
            raise RenderError("a value holds half of a surrogate pair, not a character") from None
        limit = min(max_bytes, HARD_CAP)
        if len(data) > limit:
            raise TooLargeError(len(data), limit)
        return Rendered(body=data, spec_hash=spec_hash, namespace=self.namespace)

    def _timeouts(self, execution: int, total: int) -> str:
        execution_seconds = max(1, -(-execution // _SECOND))
        least = execution_seconds + self.queue_timeout
        result = {
            "ExecutionTimeout": execution_seconds,
            "TotalTimeout": max(least, -(-total // _SECOND)),
        }
        if self.queue_timeout:
            result["QueueTimeout"] = self.queue_timeout
        return encode(result)

    def _env(self, values: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, str]:
        result = {name: _text_of(item, values) for name, item in self.env.items()}
        for name, value in env.items():
            # The firing's key may come from outside as well.
            if value.startswith("env:"):
                raise RenderError(
                    f"{name} would begin with env:, which reads the node's own variables"
                )
            if "\0" in value:
                raise RenderError(f"{name} would hold a NUL character")
            if value:
                result[name] = value
        return result

    def _inputs(
        self,
        values: Mapping[str, Any],
        inputs: Sequence[Mapping[str, Any]],
        inline: Sequence[InlineInput],
        filled: list[str],
    ) -> str:
        texts = [
            "".join([_piece(piece, values, filled) for piece in pieces]) for pieces in self.inputs
        ]
        try:
            added = [encode(source) for source in added_sources(self.targets, inputs, inline)]
        except InputError as error:
            raise RenderError(str(error)) from error
        filled += added
        return f"[{','.join([*texts, *added])}]"


def _avoiding(body: str, node: str) -> str:
    """Add the constraint that leaves one node out; every node's label `name` is its id."""
    document = json.loads(body)
    constraint = {"Key": "name", "Operator": "!=", "Values": [node]}
    document["Job"]["Constraints"] = [*(document["Job"].get("Constraints") or []), constraint]
    return encode(document)


def compile_template(job: Mapping[str, Any], *, known: KnownPaths = BASE_PATHS) -> Template:
    """Compile a job that `prepare` has returned. `known` says which values come from outside.

    Raises ValueError for a job that `prepare` would have refused.
    """
    compiler = _Compiler(job, known)
    task = mapping(items(job["Tasks"])[0])
    skeleton_task = {
        **compiler.cut({k: v for k, v in task.items() if k != "InputSources"}, ("Tasks", 0)),
        "Env": _mark("ENV"),
        "Timeouts": _mark("TIMEOUTS"),
        "InputSources": _mark("INPUTS"),
    }
    rest = {key: value for key, value in job.items() if key not in ("Tasks", "Labels")}
    skeleton = {
        **compiler.cut(rest, ()),
        "Name": _mark("NAME"),
        "Labels": _mark("LABELS"),
        "Tasks": [skeleton_task],
    }
    sources = items(task.get("InputSources"))
    at: Path = ("Tasks", 0, "InputSources")
    inputs = tuple(
        compiler.pieces(compiler.cut(source, (*at, index))) for index, source in enumerate(sources)
    )
    pieces = compiler.pieces({"Job": skeleton})
    env = compiler.texts(mapping(task.get("Env")), ("Tasks", 0, "Env"))
    labels = compiler.texts(mapping(job.get("Labels")), ("Labels",))
    fixed = [piece for part in (pieces, *inputs) for piece in part if isinstance(piece, str)]
    return Template(
        pieces=pieces,
        inputs=inputs,
        env=env,
        labels=labels,
        targets=frozenset(place(str(mapping(source).get("Target"))) for source in sources),
        queue_timeout=mapping(task.get("Timeouts")).get("QueueTimeout") or 0,
        namespace=str(job.get("Namespace") or "default"),
        placed=bool(job.get("Constraints") or mapping(task.get("Timeouts")).get("QueueTimeout")),
        digest=hashlib.sha256("\0".join(fixed).encode()).digest(),
    )


class _Compiler:
    def __init__(self, job: Mapping[str, Any], known: KnownPaths) -> None:
        self.holes: dict[Path, _Hole] = {}
        self.marked: list[_Hole] = []
        self.known = known
        walk(job, report=self.refuse, visit=self.visit)

    def refuse(self, path: Path, message: str, remedy: str) -> None:
        raise ValueError(f"{dotted(path)}: {sentence(message, remedy)}")

    def visit(self, path: Path, wanted: Leaf, parts: Parts) -> None:
        outside = any(isinstance(p, Expression) and self.known.is_outside(p.path) for p in parts)
        self.holes[path] = _Hole(path, wanted, parts, outside)

    def hole(self, value: str, path: Path) -> str | _Hole:
        """Return the fixed text of a string, or what is to be filled in."""
        hole = self.holes.get(path)
        if hole is None:
            return value
        if any(isinstance(part, Expression) for part in hole.parts):
            return hole
        return "".join(part for part in hole.parts if isinstance(part, str))

    def texts(self, given: Mapping[str, Any], path: Path) -> dict[str, str | _Hole]:
        return {key: self.hole(value, (*path, key)) for key, value in given.items()}

    def cut(self, value: Any, path: Path) -> Any:
        """Copy plain data with a mark in place of each string that is to be filled."""
        if isinstance(value, str):
            hole = self.hole(value, path)
            if isinstance(hole, str):
                return hole
            self.marked.append(hole)
            return _mark(str(len(self.marked) - 1))
        if is_mapping(value):
            return {k: self.cut(v, (*path, k)) for k, v in value.items()}
        if is_list(value):
            return [self.cut(v, (*path, i)) for i, v in enumerate(value)]
        return value

    def pieces(self, value: Any) -> _Pieces:
        """Cut the JSON at its marks; after a NUL comes the name of what each request adds."""
        result: list[str | _Hole] = []
        for index, text in enumerate(_MARK.split(encode(value))):
            if index % 2 == 0:
                result.append(text)
            elif text.isdecimal():
                result.append(self.marked[int(text)])
            else:
                result.append(f"\0{text}")
        return tuple(piece for piece in result if piece)


def _mark(name: str) -> str:
    # No document holds a NUL, so nothing in a job can look like a mark.
    return f"\0orch:{name}\0"


def _piece(piece: str | _Hole, values: Mapping[str, Any], filled: list[str]) -> str:
    """Return a piece's JSON; what was filled in is noted for the hash."""
    if isinstance(piece, str):
        return piece
    filled.append(_fill(piece, values))
    return filled[-1]


def _fill(hole: _Hole, values: Mapping[str, Any]) -> str:
    """Return the JSON for a hole."""
    wanted = hole.wanted
    if isinstance(wanted, Text):
        return encode(_text(hole, wanted, values))
    (expression,) = (part for part in hole.parts if isinstance(part, Expression))
    value = _value(hole, expression, values)
    where = dotted(hole.path)
    if isinstance(wanted, Boolean):
        if not isinstance(value, bool):
            raise RenderError(f"{where}: {expression.text} is not true or false")
    elif isinstance(value, bool) or not isinstance(value, int):
        raise RenderError(f"{where}: {expression.text} is not a whole number")
    elif not wanted.minimum <= value <= wanted.maximum:
        raise RenderError(
            f"{where}: {expression.text} is outside {wanted.minimum:,} to {wanted.maximum:,}"
        )
    return encode(value)


def _text_of(item: str | _Hole, values: Mapping[str, Any]) -> str:
    if isinstance(item, str):
        return item
    wanted = item.wanted
    if isinstance(wanted, Integer | Boolean):
        raise TypeError("a mapping of texts holds no other values")
    return _text(item, wanted, values)


def _value(hole: _Hole, expression: Expression, values: Mapping[str, Any]) -> Any:
    try:
        return look_up(values, expression)
    except MissingValueError as error:
        raise RenderError(f"{dotted(hole.path)}: {error}") from error


def _text(hole: _Hole, wanted: Text, values: Mapping[str, Any]) -> str:
    """Return the filled text. Raises RenderError where its place does not allow it."""
    texts: list[str] = []
    for part in hole.parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        try:
            text = as_text(_value(hole, part, values))
        except (TypeError, ValueError):
            raise RenderError(f"{dotted(hole.path)}: {part.text} cannot be text") from None
        texts.append(quote(text, safe="") if wanted.role == "data_url" else text)
    text = "".join(texts)
    reason = _refusal(hole, wanted, text)
    if reason:
        raise RenderError(f"{dotted(hole.path)} {reason}")
    return text


def _refusal(hole: _Hole, wanted: Text, text: str) -> str | None:
    if "\0" in text:
        return "would hold a NUL character"
    if not text.strip() and (not wanted.empty or wanted.role == "s3_key"):
        return "would be empty"
    match wanted.role:
        case "env" if not text:
            return "would be empty, which the node refuses"
        case "env" if hole.outside and text.startswith("env:"):
            return "would begin with env:, by which data from outside reads the node's variables"
        case "s3_key" if text.endswith("*") and isinstance(hole.parts[-1], Expression):
            return "would end in *, which the node takes for a prefix"
        case "path" if ".." in text.split("/"):
            return "would lead upwards (..)"
        case "path" if not text.startswith("/"):
            return "would not be an absolute path"
        case _:
            return None
