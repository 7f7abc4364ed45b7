"""One request to one node: addresses, the connection pool, time limits, retries, JSON.

Requests go through requests' adapter alone, without a session around it: what a session adds
(cookies, redirects, netrc, proxies and CA bundles from the environment) is what a client that
holds credentials must not do, and the most of a small request's CPU time.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError, create_default_context
from time import monotonic
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from bacalhau_client._auth import BasicAuth, BearerAuth
from bacalhau_client._errors import BacalhauError, MalformedResponse
from bacalhau_client._parse import Fields, ShapeError
from bacalhau_client._retry import RetryPolicy, build_retrying
from bacalhau_client._translate import (
    HandshakeError,
    shorten,
    translate_failure,
    translate_response,
)

T = TypeVar("T")
Params = Mapping[str, str | int | bool | None]

MAX_ANSWER = 64 * 1024 * 1024
MAX_ERROR_BODY = 64 * 1024
_CHUNK = 64 * 1024
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class _TlsConnection(HTTPSConnection):
    """Tells a failed handshake, after which nothing was sent, from a failure later on."""

    def connect(self) -> None:
        try:
            super().connect()
        except ConnectTimeoutError:
            raise
        except (OSError, HTTPError) as error:
            raise HandshakeError(self, str(error)) from error


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection  # pyright: ignore[reportAssignmentType]


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)  # pyright: ignore[reportUnknownMemberType]
        self.poolmanager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _TlsPool}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a node is and how to speak to it."""

    url: str
    headers: Mapping[str, str]
    verify: bool | str
    connect_timeout: float
    read_timeout: float


def check_url(url: str) -> str:
    """The node's base address without a trailing slash; ValueError says what is wrong with it."""
    problem = ""
    try:
        parts = urlsplit(url)
        if _UNPRINTABLE.search(url):
            problem = "holds a space, a control character or a non-ASCII one"
        elif parts.scheme not in ("http", "https"):
            problem = "must begin with http:// or https://"
        elif "@" in parts.netloc:
            problem = "holds credentials; give them as BearerAuth or BasicAuth"
        elif not parts.hostname:
            problem = "names no host"
        elif "?" in url or "#" in url:
            problem = "holds a query or a fragment; give the node's address alone"
        elif parts.path.rstrip("/").endswith("/api/v1"):
            problem = "ends in /api/v1, which is added by itself; leave it off"
        elif parts.port == 0:
            problem = "has port 0"
    except ValueError as error:
        problem = str(error)
    if problem:
        shown = "" if "@" in url else f" {shorten(url, 200)!r}"
        raise ValueError(f"node address{shown}: {problem}; for example http://127.0.0.1:1234")
    return url.rstrip("/")


def check_ca(ca: str | Path | bool) -> bool | str:
    """What ``verify`` of requests takes; ValueError for a file that holds no certificates."""
    if isinstance(ca, bool):
        return ca
    try:
        create_default_context(cafile=str(ca))
    except (OSError, SSLError) as error:
        raise ValueError(f"CA file {str(ca)!r}: {error}; give a PEM file or True") from error
    return str(ca)


def job_path(job: str, *rest: str) -> str:
    """Path of a job by id or name; ValueError for what cannot stand as one part of a path."""
    return item_path("jobs", "job id or name", job, *rest)


def item_path(collection: str, what: str, item: str, *rest: str) -> str:
    """Path of one item of a collection, each part quoted."""
    if not item or item in (".", ".."):
        raise ValueError(f"{what}: {item!r} names none")
    return "/".join(["/api/v1/orchestrator", collection, quote(item, safe=""), *rest])


def encode_params(params: Params | None) -> str:
    """A query with its question mark, without what is None; booleans in the API's lower case."""
    pairs = [
        (key, str(value).lower() if isinstance(value, bool) else value)
        for key, value in (params or {}).items()
        if value is not None
    ]
    return "?" + urlencode(pairs, quote_via=quote) if pairs else ""


class Transport:
    """Sends requests; safe to share between threads, which wait for a connection when more than
    ``pool_size`` send at once."""

    def __init__(
        self,
        url: str,
        *,
        auth: BearerAuth | BasicAuth | None,
        ca: str | Path | bool,
        connect_timeout: float,
        read_timeout: float,
        pool_size: int,
        retry: RetryPolicy,
        user_agent: str,
        stop: threading.Event,
    ) -> None:
        if connect_timeout <= 0 or read_timeout <= 0:
            raise ValueError("connect_timeout and read_timeout must be above 0 seconds")
        if pool_size < 1:
            raise ValueError("pool_size must be at least 1")
        headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            # a compressed answer could unpack to any size
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
        }
        if auth is not None:
            headers["Authorization"] = auth.header()
        self.endpoint = Endpoint(
            url=check_url(url),
            headers=headers,
            verify=check_ca(ca),
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
        )
        self._write_headers = headers | {"Content-Type": "application/json"}
        self._timeout = (connect_timeout, read_timeout)
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=pool_size, pool_block=True)
        self.stop = stop
        self._retries = retry.attempts > 1
        self._reads = build_retrying(retry, stop, reads=True)
        self._writes = build_retrying(retry, stop, reads=False)

    def close(self) -> None:
        """Closes idle connections."""
        self._adapter.close()

    def read(self, path: str, params: Params | None, build: Callable[[Fields], T]) -> T:
        """GETs and builds; tried again after any failure that may pass."""
        return self._call("GET", path, params, None, build, safe=True)

    def write(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: bytes | None,
        build: Callable[[Fields], T],
        *,
        safe: bool = False,
    ) -> T:
        """Sends and builds; tried again only if nothing was sent, or as a read when ``safe``."""
        return self._call(method, path, params, body, build, safe=safe)

    def _call(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: bytes | None,
        build: Callable[[Fields], T],
        *,
        safe: bool,
    ) -> T:
        place = f"{method} {self.endpoint.url}{path}"
        url = f"{self.endpoint.url}{path}{encode_params(params)}"
        last: BacalhauError | None = None

        def attempt() -> bytes:
            nonlocal last
            if last is not None and self.stop.is_set():
                raise last  # nothing new is begun once the stop is set
            try:
                return self._send(method, url, body, place)
            except BacalhauError as error:
                last = error
                raise

        if not self._retries:
            return _parse(attempt(), place, build)
        answer = (self._reads if safe else self._writes)(attempt)
        return _parse(answer, place, build)

    def _send(self, method: str, url: str, body: bytes | None, place: str) -> bytes:
        request = requests.PreparedRequest()
        request.method = method
        request.url = url
        request.body = body
        headers = self.endpoint.headers
        if body is not None:
            headers = {**self._write_headers, "Content-Length": str(len(body))}
        # a plain dict will do: every key here is spelt as the adapter looks it up
        request.headers = cast("CaseInsensitiveDict[str]", headers)
        try:
            response = self._adapter.send(
                request, stream=True, timeout=self._timeout, verify=self.endpoint.verify
            )
            good = 200 <= response.status_code < 300
            content, whole = self._read_body(response, MAX_ANSWER if good else MAX_ERROR_BODY)
        except (requests.RequestException, HTTPError, HTTPException, OSError) as error:
            raise translate_failure(error, place) from error
        if not good:
            raise translate_response(response.status_code, response.headers, content, place)
        if not whole:
            raise MalformedResponse(f"an answer above {MAX_ANSWER >> 20} MiB", place=place)
        return content

    def _read_body(self, response: requests.Response, limit: int) -> tuple[bytes, bool]:
        """Up to ``limit`` bytes and whether that is all, within the read timeout altogether."""
        raw = response.raw
        deadline = monotonic() + self.endpoint.read_timeout
        chunks: list[bytes] = []
        size = 0
        whole = False
        try:
            while size <= limit:
                chunk = raw.read1(_CHUNK, decode_content=False)
                if not chunk:
                    whole = True
                    break
                chunks.append(chunk)
                size += len(chunk)
                if monotonic() > deadline:
                    raise requests.Timeout("the body came too slowly")
        finally:
            if not whole:
                raw.close()
            raw.release_conn()
        return (chunks[0] if len(chunks) == 1 else b"".join(chunks))[:limit], whole


def _parse(answer: bytes, place: str, build: Callable[[Fields], T]) -> T:
    try:
        parsed: object = json.loads(answer)
    except (ValueError, RecursionError) as error:
        begin = shorten(" ".join(answer[:200].decode("utf-8", "replace").split()), 120)
        text = f"not JSON, but {begin!r}; is this the address of a Bacalhau node?"
        raise MalformedResponse(text, place=place) from error
    with suppress(RecursionError):
        try:
            return build(Fields(parsed, "answer"))
        except ShapeError as error:
            raise MalformedResponse(
                f"unexpected shape: {shorten(str(error))}", place=place
            ) from error
    raise MalformedResponse("nested too deeply", place=place)
