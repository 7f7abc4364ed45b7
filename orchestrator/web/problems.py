"""Errors as RFC 9457 problem details: what is wrong, where, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

import specs
from bacalhau_client import BacalhauError
from connectors.abc import SettingsError
from connectors.registry import UnknownConnectorError
from orchestrator.store.errors import Conflict, Lost, Missing, StoreError, Unavailable

_log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
_ERRORS_AT_MOST = 1000


class Trouble(Exception):
    """A request that is refused. `errors` have `path`, `message`, `remedy`, maybe `line`."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        super().__init__(detail)


def invalid(path: str, message: str, remedy: str) -> Trouble:
    """A request with one wrong place."""
    return Trouble(422, f"{path}: {message}", errors=[error(path, message, remedy)])


def error(path: str, message: str, remedy: str) -> dict[str, Any]:
    """One entry of `errors`."""
    return {"path": path, "message": message, "remedy": remedy}


def spec_errors(problems: Sequence[specs.Problem], prefix: str = "") -> list[dict[str, Any]]:
    """Problems of a trigger document as `errors`; `prefix` is its place in a larger body."""
    found: list[dict[str, Any]] = []
    for problem in problems:
        path = specs.dotted(problem.path)
        glue = "." if prefix and path and not path.startswith("[") else ""
        entry = error(f"{prefix}{glue}{path}", problem.message, problem.remedy)
        if problem.line is not None:
            entry |= {"line": problem.line, "column": problem.column}
        found.append(entry)
    return found


def settings_errors(failure: SettingsError) -> list[dict[str, Any]]:
    """Problems of a body that a model has checked."""
    return [error(p.path, p.message, p.remedy) for p in failure.problems]


def summary(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first problem in words, and how many there are."""
    first = errors[0]
    where = f"{first['path']}: " if first["path"] else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}{first['message']}{more}"


def answer(trouble: Trouble) -> JSONResponse:
    """The response for a trouble."""
    phrase = HTTPStatus(trouble.status).phrase
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": phrase,
        "status": trouble.status,
        "detail": trouble.detail,
    }
    if trouble.errors:
        body["errors"] = list(trouble.errors[:_ERRORS_AT_MOST])
    return JSONResponse(
        body, status_code=trouble.status, media_type=MEDIA_TYPE, headers=trouble.headers
    )


def translate(failure: Exception) -> Trouble:
    """What an exception of the inner layers means to a client. Internals stay inside."""
    match failure:
        case Trouble():
            return failure
        case specs.SpecError():
            errors = spec_errors(failure.problems)
            return Trouble(422, summary(errors), errors=errors)
        case SettingsError():
            errors = settings_errors(failure)
            return Trouble(422, summary(errors), errors=errors)
        case Missing() | UnknownConnectorError():
            return Trouble(404, str(failure))
        case Conflict() | Lost():
            return Trouble(409, str(failure))
        case Unavailable():
            return Trouble(503, str(failure), headers={"Retry-After": "1"})
        case StoreError():
            return Trouble(500, str(failure))
        case BacalhauError():
            return Trouble(502, f"the cluster: {failure}")
        case HTTPException():
            return _http(failure)
        case RequestValidationError():
            return _validation(failure)
        case _:
            return Trouble(500, "the orchestrator failed: its log says how")


def _http(failure: HTTPException) -> Trouble:
    detail = {
        404: "there is nothing here: GET /openapi.json lists what there is",
        405: "this method is not for this address: the Allow header lists those that are",
    }.get(failure.status_code, str(failure.detail))
    return Trouble(failure.status_code, detail, headers=failure.headers)


def _validation(failure: RequestValidationError) -> Trouble:
    errors = [
        error(
            ".".join(str(part) for part in item["loc"][1:]),
            item["msg"],
            "GET /openapi.json describes what is expected here",
        )
        for item in failure.errors()
    ]
    return Trouble(422, summary(errors), errors=errors)


async def _handle(request: Request, failure: Exception) -> JSONResponse:
    trouble = translate(failure)
    if trouble.status == 500:
        _log.error("request failed", path=request.url.path, exc_info=failure)
    return answer(trouble)


def install(app: FastAPI) -> None:
    """Answer every exception with a problem."""
    kinds: tuple[type[Exception], ...] = (
        Trouble,
        specs.SpecError,
        SettingsError,
        UnknownConnectorError,
        StoreError,
        BacalhauError,
        HTTPException,
        RequestValidationError,
    )
    for kind in kinds:
        app.add_exception_handler(kind, _handle)
