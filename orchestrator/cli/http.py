"""Asks a running orchestrator over HTTP; every failure becomes one clear CliError."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from orchestrator.cli.errors import FAILED, UNREACHABLE, CliError, usage

DEFAULT_URL = "http://127.0.0.1:7070"

_CONNECT = 5.0  # seconds
_READ = 120.0
_PAGE = 1000
_BATCH_READ = 600.0


class Refused(CliError):
    """The orchestrator answered with a problem. `errors` are those of RFC 9457's extension."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, Any]]) -> None:
        self.status = status
        self.errors = errors
        super().__init__(_told(detail, errors), FAILED)


def _told(detail: str, errors: list[dict[str, Any]]) -> str:
    if not errors:
        return detail
    lines = [_told_one(error) for error in errors]
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems", *lines])


def _told_one(error: Mapping[str, Any]) -> str:
    from specs import sentence

    path = f"{error['path']}: " if error.get("path") else ""
    return path + sentence(str(error.get("message", "")), str(error.get("remedy") or ""))


def segment(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def check_url(url: str) -> str:
    """An orchestrator's address without a slash at its end. Raises CliError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise usage(f"--url {url!r}: write http://HOST:PORT, such as {DEFAULT_URL}")
    return url.rstrip("/")


class Api:
    """The HTTP API of one orchestrator. Proxies and .netrc of the environment are not used."""

    def __init__(
        self, url: str | None = None, *, token: str = "", connect_timeout: float = _CONNECT
    ) -> None:
        given = url or os.environ.get("ORCH_URL") or DEFAULT_URL
        self.url = check_url(given)
        self._connect = connect_timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["User-Agent"] = "orch-cli"
        authority = os.environ.get("ORCH_CA")
        if authority:
            self._session.verify = authority
        token = token or os.environ.get("ORCH_TOKEN", "").strip()
        if token:
            if not (token.isascii() and token.isprintable()):
                raise usage("ORCH_TOKEN holds characters that no token has: copy it again")
            self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at a path below /api/v1."""
        return self._json(self.request("GET", path, params=params))

    def post(self, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Post JSON."""
        return self._json(self.request("POST", path, body=body or {}, params=params))

    def put(self, path: str, body: Mapping[str, Any], **params: Any) -> Any:
        """Put JSON."""
        return self._json(self.request("PUT", path, body=body, params=params))

    def post_text(self, path: str, text: bytes, **params: Any) -> Any:
        """Post what is JSON already, and much of it."""
        headers = {"Content-Type": "application/json"}
        return self._json(
            self.request(
                "POST", path, data=text, headers=headers, params=params, read_timeout=_BATCH_READ
            )
        )

    def refusal(self, error: Refused) -> str:
        """Why a trigger was refused that is right here: a kind may be unknown only there."""
        if not any(problem.get("path") == "kind" for problem in error.errors):
            return str(error)
        return (
            f"{error} (in the orchestrator at {self.url}: restart it, if the connector was just "
            "installed)"
        )

    def delete(self, path: str, **params: Any) -> Any:
        """Delete."""
        return self._json(self.request("DELETE", path, params=params))

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The items of all pages of a list."""
        cursor: str | None = None
        while True:
            page = self.get(path, **{**params, "limit": _PAGE, "cursor": cursor})
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        stream: bool = False,
        read_timeout: float | None = _READ,
    ) -> requests.Response:
        """Ask. Raises Refused for a problem, CliError where no orchestrator answers.

        A path without a slash at its beginning is below /api/v1.
        """
        place = path if path.startswith("/") else f"/api/v1/{path}"
        asked = {k: _parameter(v) for k, v in (params or {}).items() if v is not None}
        try:
            response = self._session.request(
                method,
                f"{self.url}{place}",
                json=body,
                data=data,
                headers=headers,
                params=asked,
                timeout=(self._connect, read_timeout),
                allow_redirects=False,
                stream=stream,
            )
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        except OSError as error:  # ORCH_CA names no file
            raise usage(f"ORCH_CA: {error}") from error
        if response.ok:
            return response
        raise self._refused(response)

    def chunks(self, response: requests.Response, size: int | None) -> Iterator[bytes]:
        """The body of a streamed response, as it comes where `size` is None."""
        try:
            yield from response.iter_content(size)
        except requests.RequestException as error:
            message = f"{self.url} broke off in the middle of its answer: {_reason(error)}"
            raise CliError(message) from error

    def _json(self, response: requests.Response) -> Any:
        try:
            return response.json()
        except (requests.RequestException, ValueError) as error:
            raise self._stranger(response) from error

    def _refused(self, response: requests.Response) -> CliError:
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            try:
                body: Any = response.json()
                return Refused(response.status_code, str(body["detail"]), body.get("errors") or [])
            except (requests.RequestException, ValueError, KeyError, TypeError):
                pass
        return self._stranger(response)

    def _stranger(self, response: requests.Response) -> CliError:
        return CliError(
            f"what answers at {self.url} is no orchestrator (HTTP {response.status_code}, "
            f"{response.headers.get('Content-Type', 'no content type')}): check --url / ORCH_URL",
            UNREACHABLE,
        )

    def _unreachable(self, error: requests.RequestException) -> CliError:
        if isinstance(error, requests.exceptions.SSLError):
            remedy = "set ORCH_CA to the PEM file of the authority behind its certificate"
        else:
            remedy = "start one with `orch serve`, or say where it is with --url / ORCH_URL"
        return CliError(
            f"no orchestrator answers at {self.url} ({_reason(error)}): {remedy}", UNREACHABLE
        )


def _parameter(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value


def _reason(error: BaseException) -> str:
    """The innermost reason in words, without the layers around it."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    found: Any = error
    while isinstance(found, BaseException):
        if isinstance(found, OSError) and found.strerror and found.errno:
            return found.strerror.lower()
        inner = next((a for a in found.args if isinstance(a, BaseException)), None)
        found = getattr(found, "reason", None) or inner or found.__cause__ or found.__context__
    return "no connection"
