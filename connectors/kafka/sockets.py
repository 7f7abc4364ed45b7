"""How kafka-python connects, with sockets closed that came to nothing.

The library leaves those to the garbage collector: while a broker is away each try costs a file
descriptor until it comes round. Ways to connect are found by the scheme of ``proxy_url``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Untyped: the stubs that pyright brings describe an older version.
_inet: Any = import_module("kafka.net.inet")
_Base: Any = _inet.KafkaNetSocket

DIRECT = "direct://"
"""The ``proxy_url`` that means: no proxy, and no socket left behind."""


class DirectSocket(_Base):
    """A plain connection. The library knows the class by its scheme from here on."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, sockaddr: Any, timeout_at: Any = None) -> Any:
        """Connect, or close the socket and raise what the library raises."""
        try:
            return await _Base.sock_connect(self, net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise
