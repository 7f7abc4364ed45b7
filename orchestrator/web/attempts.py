"""Wrong tokens: how many an address may try before it has to wait.

A token has 256 random bits and cannot be guessed; this keeps whoever tries from the store and the
log. What has been right lately is let through, so that nobody is locked out by a neighbour.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

BURST = 20  # wrong ones at once
EVERY = 3.0  # seconds until one more
_ADDRESSES = 4096  # remembered; the ones that tried longest ago are forgotten
_RIGHT = 1024


class Attempts:
    """Used by one event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tries left, as of when
        self._right: OrderedDict[str, None] = OrderedDict()

    def wait(self, address: str, digest: str) -> float:
        """Seconds until this address may try a token that was not right lately; 0 for now."""
        if digest in self._right:
            return 0.0
        left = self._tries(_network(address))
        return 0.0 if left >= 1 else (1 - left) * EVERY

    def wrong(self, address: str) -> None:
        """It has tried a wrong one."""
        network = _network(address)
        self._left[network] = (self._tries(network) - 1, self._monotonic())
        self._left.move_to_end(network)
        if len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)

    def right(self, digest: str) -> None:
        """This one was right."""
        self._right[digest] = None
        self._right.move_to_end(digest)
        if len(self._right) > _RIGHT:
            self._right.popitem(last=False)

    def _tries(self, network: str) -> float:
        left, at = self._left.get(network, (float(BURST), self._monotonic()))
        return min(float(BURST), left + (self._monotonic() - at) / EVERY)


def _network(address: str) -> str:
    """Who has one IPv6 address has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
