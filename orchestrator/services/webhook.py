"""One POST to an address from outside: nothing private is called, little is read.

Whoever registers a trigger chooses the address, and the orchestrator stands where it can reach
more than they may: see :mod:`connectors.outbound`.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors import outbound

TIMEOUT = 10.0  # seconds, for all of it
_READ = 1024  # bytes of the answer


class Undelivered(Exception):
    """The receiver did not take it; `final` if it makes no sense to try again."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(reason)


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> None:
    """Deliver. Raises Undelivered for anything but an answer of 2xx in time."""
    try:
        answer = outbound.request(
            "POST",
            url,
            body=body,
            headers=headers,
            limit=_READ,
            timeout=TIMEOUT,
            allow_private=allow_private,
        )
    except outbound.NoAnswer as error:
        reason = str(error)
        if error.private:
            reason += ": callbacks go there only with `allow_private_callbacks: true`"
        raise Undelivered(reason, final=error.private) from error
    _judge(answer.status, answer.content)


def _judge(status: int, said: bytes) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Undelivered(f"answered {status}: redirects are not followed, state the new address")
    words = " ".join(said[:200].decode(errors="replace").split())
    reason = (
        f"answered {status}: {words}" if words.isprintable() and words else f"answered {status}"
    )
    raise Undelivered(reason, final=status == 410)
