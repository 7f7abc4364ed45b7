"""Everything that can go wrong between a caller and a node.

::

    BacalhauError
    ├── Unreachable            certainly not sent: unknown name, refused, timeout, TLS
    ├── Ambiguous              may have been sent, and nobody says what became of it
    │   ├── GatewayFault       502 and 504: something in front of the node lost it
    │   └── MalformedResponse  an answer came, but not one of this API
    ├── Answered               the node (or something in front of it) said no
    │   ├── Refused            400, 413: the request is wrong and stays wrong
    │   ├── Unauthorized       401: no credentials, or wrong ones
    │   ├── Forbidden          403: the credentials lack the capability
    │   ├── NotFound           404
    │   ├── Conflict           409: somebody else submits this name at this moment
    │   ├── AlreadyThere       500 "no changes detected": this very job exists
    │   ├── CannotStop         500 "cannot stop job in state …": it has ended already
    │   ├── Throttled          429: slow down, ``retry_after`` says how long
    │   ├── Unavailable        503: overloaded, starting, or cut off after 30 s of work
    │   ├── ServerFault        any other 5xx
    │   └── UnexpectedStatus   any other status, redirects among them
    ├── LogStreamFailed        the node ended a log stream with an error
    └── LogsTooLong            a log stream outgrew the caller's bound

``maybe_sent`` is what a writer must ask: true means that the node may have done what was asked,
or may still do it, so that the same job must be looked up by name before anything else is decided.
"""

from collections.abc import Mapping


class BacalhauError(Exception):
    """Base of all errors of this package.

    ``place`` is the request (method and address, never its query or body), ``message`` what
    happened, cleaned of control characters and bounded in length.
    """

    maybe_sent: bool = False

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class Unreachable(BacalhauError):
    """No connection came about, so nothing was sent: unknown name, refused, timeout, TLS."""


class Ambiguous(BacalhauError):
    """The request may have been sent, and no clear answer came back."""

    maybe_sent = True


class GatewayFault(Ambiguous):
    """502 or 504: something in front of the node did not get, or did not wait for, its answer."""

    def __init__(self, message: str, *, place: str = "", status: int) -> None:
        super().__init__(message, place=place)
        self.status = status


class MalformedResponse(Ambiguous):
    """An answer with a good status whose body is not what this API answers."""


class Answered(BacalhauError):
    """An answer that is an error. ``code`` may be empty or generic: the node's are.

    ``details`` are the node's own, ``request_id`` is the ``X-Request-Id`` of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        place: str = "",
        status: int,
        code: str = "",
        hint: str = "",
        details: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, place=place)
        self.status = status
        self.code = code
        self.hint = hint
        self.details: Mapping[str, str] = details or {}
        self.request_id = request_id

    def __str__(self) -> str:
        label = f"{self.status} {self.code}".rstrip()
        reason = self.details.get("reason", "")
        notes = "; ".join(note for note in (reason, self.hint) if note)
        text = f"{label}: {self.message}" + (f" ({notes})" if notes else "")
        return f"{self.place}: {text}" if self.place else text


class Refused(Answered):
    """400 or 413: the node does not take this request, now or later."""


class Unauthorized(Answered):
    """401: no credentials, or none that this cluster knows."""


class Forbidden(Answered):
    """403: known, but without the capability; ``details["reason"]`` names it."""


class NotFound(Answered):
    """404: no such job or node, or no such endpoint."""


class Conflict(Answered):
    """409: the same name is being submitted by somebody else at this moment."""


class AlreadyThere(Answered):
    """500 ``no changes detected``: a job of this name with this very spec exists.

    ``job_name`` and ``job_id`` are taken from the message; empty where it does not hold them.
    """

    job_name: str = ""
    job_id: str = ""


class CannotStop(Answered):
    """500 ``cannot stop job in state …``: the job has ended; ``state`` is the node's word."""

    state: str = ""


class Throttled(Answered):
    """429. ``retry_after`` is in seconds, or None where the answer does not say."""

    retry_after: float | None = None


class Unavailable(Answered):
    """503. Says nothing about a write: a handler that is cut off may still commit."""

    maybe_sent = True
    retry_after: float | None = None


class ServerFault(Answered):
    """A 5xx without a meaning of its own. A write may or may not have been taken."""

    maybe_sent = True


class UnexpectedStatus(Answered):
    """A status that this API does not give. Redirects are never followed."""


class LogStreamFailed(BacalhauError):
    """The node ended a log stream with an error of its own; ``message`` is the node's."""


class LogsTooLong(BacalhauError):
    """A log stream went on past ``max_bytes``; what was yielded before it is good."""
