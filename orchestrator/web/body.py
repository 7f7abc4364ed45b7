"""Request bodies: read within a limit, parsed strictly, checked by a model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeVar

import pydantic
from fastapi import Depends
from starlette.requests import Request

import specs
from connectors.validation import validate
from orchestrator.web.problems import Trouble, error, invalid

ModelT = TypeVar("ModelT", bound="Strict")

LIMIT = 2 * 1024 * 1024
BATCH_LIMIT = 64 * 1024 * 1024
_MAX_DEPTH = 100
_SUSPICIOUS = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)
_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})


class Strict(pydantic.BaseModel):
    """The base of what bodies are checked against: no unknown keys, no guessed types."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True)
class Body:
    """A body as it came."""

    data: bytes
    yaml: bool

    def document(self) -> specs.Document:
        """Read it as a trigger file or job, with the lines of what is wrong. Raises SpecError."""
        file = "body.yaml" if self.yaml else "body.json"
        return specs.load(self.data, file=file, max_bytes=LIMIT)

    def mapping(self) -> dict[str, Any]:
        """Read it as a JSON object; nothing at all is an empty one. Raises Trouble."""
        if not self.data.strip():
            return {}
        value = parse_json(self.data)
        if not isinstance(value, dict):
            raise invalid("", "the body is not a JSON object", 'Send {"key": value, …}')
        return value  # pyright: ignore[reportUnknownVariableType]

    def check(self, model: type[ModelT]) -> ModelT:
        """Read it as the model says. Raises Trouble, SettingsError."""
        return validate(model, self.mapping())


def parse_json(data: bytes) -> Any:
    """Parse JSON as RFC 8259 says it, without duplicate keys and without bounds being tried."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise invalid(
            "", f"byte {failure.start + 1} is not UTF-8", "Send the body as UTF-8"
        ) from failure
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as failure:
        place = {"line": failure.lineno, "column": failure.colno}
        entry = error("", f"not JSON: {failure.msg}", "Check commas, quotes and brackets there")
        raise Trouble(422, f"not JSON: {failure}", errors=[entry | place]) from failure
    except RecursionError as failure:
        raise _too_deep() from failure
    if _deeper(value, _MAX_DEPTH):
        raise _too_deep()
    if _SUSPICIOUS.search(text):
        _check_text(value)
    return value


def _check_text(value: Any) -> None:
    """Refuse escapes that JSON can say and neither a file nor a database can hold."""
    plain = json.dumps(value, ensure_ascii=False)
    try:
        plain.encode()
    except UnicodeEncodeError as failure:
        raise invalid("", "half of a surrogate pair", "Send whole characters") from failure
    if "\\u0000" in plain.replace("\\\\", ""):
        raise invalid("", "a NUL character", "Remove it")


def _too_deep() -> Trouble:
    return invalid("", f"nested more than {_MAX_DEPTH} levels deep", "Send flatter JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise invalid(key[:100], "the key stands there twice", "Remove one of the two")
            seen.add(key)
    return found


def _constant(name: str) -> NoReturn:
    raise invalid("", f"{name} is not JSON", "Send a number, or null")


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise invalid("", f"the number {digits[:30]} does not fit", "Send one below 1e308")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise invalid(
            "", f"the number {digits[:30]} does not fit into 64 bits", "If it is text, quote it"
        )
    return int(digits)


def _deeper(value: Any, levels: int) -> bool:
    """Whether JSON is nested deeper; by levels, so that a body of any depth costs no stack."""
    here = [value]
    for _ in range(levels):
        below: list[Any] = []
        for item in here:
            if isinstance(item, dict):
                below += [v for v in item.values() if isinstance(v, dict | list)]  # pyright: ignore
            elif isinstance(item, list):
                below += [v for v in item if isinstance(v, dict | list)]  # pyright: ignore
        if not below:
            return False
        here = below
    return True


def media_type(request: Request) -> str:
    """The content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    """Whether this content type is JSON."""
    return media == "application/json" or (
        media.startswith("application/") and media.endswith("+json")
    )


def is_yaml(media: str) -> bool:
    """Whether this content type is YAML."""
    return media in _YAML


async def read_body(request: Request, limit: int) -> bytes:
    """The body as it came. Raises Trouble where it has more bytes than `limit`."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> Trouble:
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit:,} bytes"
    # What was not read stays in the connection: it cannot be used for another request.
    return Trouble(
        413,
        f"the body has more than {size}: send large data by an input source, many triggers in "
        "several batches",
        headers={"Connection": "close"},
    )


async def _json_body(request: Request) -> Body:
    if is_yaml(media_type(request)):
        raise Trouble(415, "YAML is for trigger files only: send this as application/json")
    return Body(data=await read_body(request, LIMIT), yaml=False)


async def _batch_body(request: Request) -> Body:
    if is_yaml(media_type(request)):
        raise Trouble(415, "a batch is JSON: send it as application/json")
    return Body(data=await read_body(request, BATCH_LIMIT), yaml=False)


async def _document_body(request: Request) -> Body:
    return Body(data=await read_body(request, LIMIT), yaml=is_yaml(media_type(request)))


JsonBody = Annotated[Body, Depends(_json_body)]
BatchBody = Annotated[Body, Depends(_batch_body)]
DocumentBody = Annotated[Body, Depends(_document_body)]


def openapi_body(
    schema: Mapping[str, Any], *, required: bool, yaml: bool = False
) -> dict[str, Any]:
    """What an endpoint that reads its own body says about it in the OpenAPI document."""
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if yaml:
        content["application/yaml"] = {"schema": schema}
    return {"requestBody": {"required": required, "content": content}}


def openapi_model(model: type[Strict], *, required: bool = False) -> dict[str, Any]:
    """The same, from the model that checks the body."""
    return openapi_body(model.model_json_schema(), required=required)
