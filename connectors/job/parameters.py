"""Parameters checked against a template's JSON Schema, and its defaults filled in.

The schema is written by whoever registers the template, the parameters by anybody. References go
nowhere but into the schema itself: nothing is fetched.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import jsonschema
import referencing
import referencing.exceptions

from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import error
from connectors.validation import shown, shown_key

MAX_SCHEMA = 64 * 1024
"""Characters of a schema."""
_PROBLEMS_AT_MOST = 20
_ANY: dict[str, Any] = {"type": "object"}


def check_schema(schema: Mapping[str, JSON]) -> None:
    """Raises :class:`SettingsError` for what is no schema of an object, with paths inside it."""
    try:
        size = len(json.dumps(schema))
    except (TypeError, ValueError, RecursionError) as reason:
        raise error("the schema is not JSON", "write a JSON Schema") from reason
    if size > MAX_SCHEMA:
        raise error(f"the schema has {size:,} characters", f"write at most {MAX_SCHEMA:,}")
    if schema.get("type", "object") != "object":
        raise error(
            f"{shown(schema['type'])} cannot hold parameters", "write `type: object`", "type"
        )
    for path, reference in _references(schema):
        if not reference.startswith("#"):
            message = f"{shown(reference)} leads out of the schema"
            raise error(message, "write a reference such as #/$defs/name", path)
    try:
        jsonschema.Draft202012Validator.check_schema(cast("Mapping[str, Any]", schema))
    except jsonschema.SchemaError as reason:
        raise SettingsError([_problem(reason)]) from reason
    except RecursionError as reason:
        raise error("the schema is nested too deep", "write a flatter one") from reason
    defaults = _defaults(schema)
    problems = [
        p._replace(path=f"properties.{p.path}.default")
        for p in _problems(_validator(json.dumps({**schema, "required": []})), defaults)
    ]
    if problems:
        raise SettingsError(problems)


def fill_in(schema: Mapping[str, JSON] | None, given: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """The parameters of a run. Raises :class:`SettingsError` with paths inside the parameters.

    Defaults of the properties of the object itself are filled in; what the schema does not name is
    refused, unless it says `additionalProperties`.
    """
    if schema is None:
        if not given:
            return {}
        raise error("this template has no parameters", "send none", shown_key(next(iter(given))))
    filled = {**_defaults(schema), **given}
    problems = list(_problems(_validator(json.dumps(schema)), filled))
    if problems:
        raise SettingsError(problems)
    return filled


def _references(schema: Mapping[str, JSON]) -> Iterator[tuple[str, str]]:
    """Each reference in a schema, with its place."""
    stack: list[tuple[str, Any]] = [("", schema)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            for name, inner in cast("dict[str, Any]", value).items():
                here = f"{path}.{shown_key(name)}" if path else shown_key(name)
                if name in ("$ref", "$dynamicRef") and isinstance(inner, str):
                    yield here, inner
                stack.append((here, inner))
        elif isinstance(value, list):
            items = cast("list[Any]", value)
            stack += [(f"{path}[{index}]", inner) for index, inner in enumerate(items)]


def _defaults(schema: Mapping[str, JSON]) -> dict[str, Any]:
    properties = cast("Mapping[str, Any]", schema.get("properties") or {})
    return {
        name: copy.deepcopy(cast("Any", inner["default"]))
        for name, inner in properties.items()
        if isinstance(inner, dict) and "default" in inner
    }


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    schema = {**_ANY, **json.loads(text)}
    if "patternProperties" not in schema and "unevaluatedProperties" not in schema:
        schema.setdefault("additionalProperties", False)
    # A registry of its own, which fetches nothing: the default one would ask the network.
    made: Any = jsonschema.Draft202012Validator
    registry: Any = referencing.Registry[Any]()
    return made(schema, registry=registry)


def _problems(validator: Any, value: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        for count, found in enumerate(validator.iter_errors(value)):
            if count == _PROBLEMS_AT_MOST:
                return
            yield _problem(found)
    except (RecursionError, referencing.exceptions.Unresolvable) as reason:
        raise error("the template's schema cannot be followed", "mend the template") from reason


def _problem(found: jsonschema.ValidationError | jsonschema.SchemaError) -> Problem:
    path = ""
    for part in found.absolute_path:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += ("." if path else "") + shown_key(str(part))
    message = found.message if len(found.message) <= 200 else f"{found.message[:199]}…"
    if found.validator in ("required", "additionalProperties"):
        # These are about a key inside of what the path names.
        key = _key(found)
        if key is not None:
            path += ("." if path else "") + shown_key(key)
            message = "is missing" if found.validator == "required" else "is not a parameter"
    return Problem(path, message, _remedy(found))


def _key(found: Any) -> str | None:
    if found.validator == "required":
        names: Sequence[str] = found.validator_value
        return next((name for name in names if name not in found.instance), None)
    known: Mapping[str, Any] = found.schema.get("properties", {})
    return next((str(name) for name in found.instance if name not in known), None)


def _remedy(found: Any) -> str:
    whole: object = found.schema  # true and false are schemas, too
    schema = cast("dict[str, Any]", whole) if isinstance(whole, dict) else {}
    description = schema.get("description")
    if isinstance(description, str) and found.validator not in ("required", "additionalProperties"):
        return f"write {description[:200]}"
    if found.validator == "additionalProperties":
        known = ", ".join(list(cast("Mapping[str, Any]", schema.get("properties", {})))[:20])
        return f"known are {known}" if known else "leave it out"
    return "write what the template's schema asks for"
