"""Clients that sources use together: one for each place, for as long as anybody needs it.

A thousand quiet queues cost a thousand connections, and not a thousand clients of 300 kB each.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from connectors.aws.client import make_client

CONNECTIONS = 4096
"""Kept open at most by one client; they are made as calls go on side by side."""
_lock = threading.Lock()
_places: dict[tuple[str, str | None, str | None, str], _Client] = {}


@dataclass(eq=False, slots=True)
class _Client:
    made: Any
    users: set[SharedClient] = field(default_factory=set["SharedClient"])


class SharedClient:
    """One user's part in a client. Thread-safe."""

    def __init__(
        self,
        service: str,
        *,
        region: str | None,
        endpoint: str | None,
        read_timeout: float,
        **options: Any,
    ) -> None:
        """`options` are more of :func:`connectors.aws.client.make_client`."""
        self._options: dict[str, Any] = {"read_timeout": read_timeout, **options}
        self._place = (service, region, endpoint, repr(sorted(self._options.items())))
        self._mine: _Client | None = None

    def get(self) -> Any:
        """boto3's client, made on first use."""
        with _lock:
            if self._mine is None:
                service, region, endpoint, _ = self._place
                if self._place not in _places:
                    made = make_client(
                        service,
                        region=region,
                        endpoint=endpoint,
                        connections=CONNECTIONS,
                        **self._options,
                    )
                    _places[self._place] = _Client(made)
                self._mine = _places[self._place]
                self._mine.users.add(self)
            return self._mine.made

    def renew(self) -> None:
        """Credentials were refused: they are looked for anew when the client is used again."""
        with _lock:
            if self._mine is not None and _places.get(self._place) is self._mine:
                del _places[self._place]
        self.close()

    def close(self) -> None:
        """Leave the client, which is closed behind the last user. May be called twice."""
        with _lock:
            mine, self._mine = self._mine, None
            if mine is None:
                return
            mine.users.discard(self)
            last = not mine.users
            if last and _places.get(self._place) is mine:
                del _places[self._place]
        if last:
            mine.made.close()
