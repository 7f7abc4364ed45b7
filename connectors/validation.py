"""Turns what pydantic says about settings into problems with a place and a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import pydantic
from pydantic_core import ErrorDetails

from connectors.abc import JSON, Problem, SettingsError

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)

_SHOWN = 60


def validate(model: type[ModelT], raw: Mapping[str, JSON]) -> ModelT:
    """The settings as the model's values. Raises :class:`SettingsError` with all problems.

    Validators of the model say more by raising :class:`SettingsError` themselves; its paths
    are then relative to the field.
    """
    try:
        return model.model_validate(raw)
    except pydantic.ValidationError as error:
        problems = [p for detail in error.errors() for p in _problems(model, detail)]
    raise SettingsError(problems)


def shown(value: object) -> str:
    """A value as it may stand in a message: short, and on one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, endless nesting
        return f"this {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _problems(model: type[pydantic.BaseModel], detail: ErrorDetails) -> list[Problem]:
    path = _path(detail["loc"])
    context: dict[str, Any] = detail.get("ctx", {})
    inner = context.get("error")
    if isinstance(inner, SettingsError):
        return [Problem(_joined(path, p.path), p.message, p.remedy) for p in inner.problems]
    given = shown(detail["input"])
    match detail["type"]:
        case "extra_forbidden":
            key = str(detail["loc"][-1])
            known = _known(model, detail["loc"][:-1])
            near = difflib.get_close_matches(key, known, n=1)
            listed = f"known are {', '.join(known)}" if known else "remove it"
            remedy = f"did you mean {near[0]!r}?" if near else listed
            return [Problem(path, "unknown setting", remedy)]
        case "missing":
            choices = _choices(model, detail["loc"])
            wanted = f"one of {', '.join(choices)}" if choices else f"a value for {path!r}"
            return [Problem(path, "is missing", f"write {wanted}")]
        case "string_type":
            return [Problem(path, f"{given} is not text", "write it in quotes")]
        case "model_type" | "dict_type":
            return [Problem(path, f"{given} is not a mapping", "write keys with values")]
        case "tuple_type" | "list_type":
            return [Problem(path, f"{given} is not a list", "write a list, in [ ] or one per line")]
        case "literal_error":
            return [Problem(path, f"{given} is not accepted", f"write {context['expected']}")]
        case _:
            message = f"{given} is not accepted: {detail['msg']}"
            return [Problem(path, message, "write a value of the type that the message names")]


def _known(model: type[pydantic.BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that a model takes, or the one within it at a place; empty where that is unclear."""
    for part in location:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        kinds: list[object] = []
        if part in fields:
            kinds = [fields[str(part)].annotation, *get_args(fields[str(part)].annotation)]
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, pydantic.BaseModel)]
        if len(inner) != 1:
            return []
        model = inner[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _choices(model: type[pydantic.BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """What a setting of the model may be, where it is one of some words."""
    for name, field in model.model_fields.items():
        if location == (field.alias or name,) and get_origin(field.annotation) is Literal:
            return [str(choice) for choice in get_args(field.annotation)]
    return []


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else _joined(path, shown_key(part))
    return path


def shown_key(key: str) -> str:
    """A key as it may stand in a path; quoted when it is not a plain word."""
    return key if key.isidentifier() and len(key) <= _SHOWN else shown(key)


def _joined(path: str, rest: str) -> str:
    if not path or not rest or rest.startswith("["):
        return path + rest
    return f"{path}.{rest}"
