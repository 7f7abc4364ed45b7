"""Turns what a broker answers into the exceptions of sources, with words for people.

The codes are those of MQTT 5.0, 2.4; paho gives the older ones of 3.1.1 in the same words.
"""

from __future__ import annotations

from connectors.streams import SourceError, SourceRefused, SourceUnavailable

UNSPECIFIED = 0x80
BAD_VERSION = 0x84
TAKEN_OVER = 0x8E
BAD_FILTER = 0x8F
_REFUSED = {
    0x81: "it could not read what we sent",
    0x82: "it says that we broke the protocol",
    BAD_VERSION: "it does not speak this version of MQTT: set `protocol`",
    0x85: "it does not take the client id: set `client_id`",
    0x86: "it does not take the user or the password: see `security`",
    0x87: "the user may not do this: see the broker's access lists",
    0x8A: "it has banned this client",
    0x8C: "it wants another way of authentication",
    TAKEN_OVER: "another client has taken over the session: it uses the same client id",
    BAD_FILTER: "it does not take the filter, or the user may not read it",
    0x90: "it does not take the topic of the will",
    0x95: "what we sent is too large for it",
    0x98: "its administrator has ended the connection",
    0x9A: "it keeps no messages: write retain: false",
    0x9B: "it does not support this QoS: set `qos`",
    0x9C: "it asks for another server to be used",
    0x9D: "it has moved to another server",
    0x9E: "it does not support shared subscriptions",
    0xA2: "it does not support wildcards",
}


def refused(where: str, what: str, code: int, name: str) -> SourceError:
    """The exception for a reason code. `what` was asked: "the connection"."""
    known = _REFUSED.get(code)
    if known is None:
        return SourceUnavailable(f"{where}: {what}: {name} ({code:#04x})")
    return SourceRefused(f"{where}: {what}: {known} ({name}, {code:#04x})")
