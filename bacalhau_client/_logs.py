"""A job's output as the node streams it, over a websocket."""

import json
import logging
import socket
import ssl
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from bacalhau_client._errors import (
    Ambiguous,
    LogsTooLong,
    LogStreamFailed,
    MalformedResponse,
    Unreachable,
)
from bacalhau_client._parse import Fields, ShapeError
from bacalhau_client._translate import describe, shorten, translate_response
from bacalhau_client._transport import Endpoint, Params, encode_params

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection

DEFAULT_MAX_BYTES = 16 * 1024 * 1024
_MAX_LINE = 4 * 1024 * 1024
_GRAIN = 0.5  # seconds until a stop is noticed
_STREAMS: dict[int, Literal["stdout", "stderr"]] = {1: "stdout", 2: "stderr"}
# websockets logs the headers it sends, credentials among them, at DEBUG: its own logger is mute
_MUTE = logging.Logger("bacalhau_client.logs", logging.CRITICAL + 1)


class LogLine(NamedTuple):
    """A piece of output with its line end, as the task wrote it.

    The order is the task's within one stream; between the two it is not kept.
    """

    stream: Literal["stdout", "stderr"]
    line: str


def stream_logs(
    endpoint: Endpoint,
    path: str,
    params: Params,
    *,
    stop: threading.Event,
    max_bytes: int | None,
    idle_timeout: float | None,
) -> Iterator[LogLine]:
    """Connects at the first ``next`` and yields until the node ends the stream or ``stop``."""
    from websockets.exceptions import ConnectionClosed

    place = f"GET {endpoint.url}{path}"
    with _connect(endpoint, path, params, place) as connection:
        size = 0
        quiet_since = monotonic()
        while not stop.is_set():
            try:
                message = connection.recv(timeout=_GRAIN, decode=False)
            except TimeoutError as error:
                if idle_timeout is not None and monotonic() - quiet_since >= idle_timeout:
                    raise Ambiguous("no line within the idle timeout", place=place) from error
                continue
            except ConnectionClosed as error:
                _check_close(error, place)
                return
            quiet_since = monotonic()
            line = _parse_line(message, place)
            if line is None:
                continue
            size += len(line.line.encode())
            if max_bytes is not None and size > max_bytes:
                raise LogsTooLong(f"more than {max_bytes} bytes of output", place=place)
            yield line


@contextmanager
def _connect(
    endpoint: Endpoint, path: str, params: Params, place: str
) -> Generator["ClientConnection", None, None]:
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    parts = urlsplit(endpoint.url)
    secure = parts.scheme == "https"
    context = _tls_context(endpoint.verify) if secure else None
    address = (parts.hostname or "", parts.port or (443 if secure else 80))
    try:
        sock = socket.create_connection(address, timeout=endpoint.connect_timeout)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"no connection: {describe(error)}", place=place) from error
    with ExitStack() as stack:
        try:
            opening = connect(
                f"ws{endpoint.url.removeprefix('http')}{path}{encode_params(params)}",
                # a socket of our own also means that no redirect is followed
                sock=sock,
                ssl=context,
                additional_headers=_handshake_headers(endpoint),
                user_agent_header=endpoint.headers["User-Agent"],
                compression=None,
                proxy=None,
                open_timeout=endpoint.connect_timeout,
                close_timeout=1,
                # the node reads nothing, so it may answer no ping: they only keep the way open
                ping_timeout=None,
                max_size=_MAX_LINE,
                logger=_MUTE,
            )
            connection = stack.enter_context(opening)
        except ssl.SSLError as error:
            raise Unreachable(f"no connection: TLS: {describe(error)}", place=place) from error
        except (WebSocketException, OSError, EOFError, ValueError) as error:
            # a redirect comes wrapped, because this socket cannot be used for another address
            chain = (error, error.__cause__, error.__context__)
            refusal = next((each for each in chain if isinstance(each, InvalidStatus)), None)
            if refusal is not None:
                answer = refusal.response
                headers = dict(answer.headers.raw_items())
                body = bytes(answer.body or b"")
                raise translate_response(answer.status_code, headers, body, place) from error
            raise Ambiguous(f"no websocket: {describe(error)}", place=place) from error
        # closed before the stack would close it as broken
        stack.callback(connection.close)
        yield connection


def _handshake_headers(endpoint: Endpoint) -> dict[str, str]:
    value = endpoint.headers.get("Authorization")
    return {} if value is None else {"Authorization": value}


def _tls_context(verify: bool | str) -> ssl.SSLContext:
    """What requests makes of the same setting."""
    bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    context = ssl.create_default_context(cafile=bundle)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_close(closed: "ConnectionClosed", place: str) -> None:
    """Raises for an end that is none: an error's close frame, or a message that is too big."""
    frame = closed.rcvd
    if frame is not None and frame.code not in (1000, 1001, 1005):
        reason = shorten(frame.reason) or "no reason given"
        raise LogStreamFailed(f"closed with code {frame.code}: {reason}", place=place) from closed
    if frame is None and closed.sent is not None:
        text = f"not a log stream: {shorten(closed.sent.reason) or closed.sent.code}"
        raise MalformedResponse(text, place=place) from closed


def _parse_line(message: bytes | str, place: str) -> LogLine | None:
    """A line, or None for a stream that this client does not know."""
    try:
        fields = Fields(json.loads(message), "log message")
        problem = fields.text("error")
        value = fields.child("value")
        kind = value.integer("Type")
        line = value.text("Line")
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, ShapeError) else "not JSON"
        raise MalformedResponse(f"log stream: {shorten(what)}", place=place) from error
    if problem:
        raise LogStreamFailed(shorten(problem), place=place)
    stream = _STREAMS.get(kind)
    return None if stream is None else LogLine(stream, line)
