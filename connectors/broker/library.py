"""The library that speaks MQTT is an extra: whoever needs it asks here first."""

from __future__ import annotations

from importlib.util import find_spec


class NoLibrary(ValueError):
    """It is not installed; the text says what to install."""


def need(what: str) -> None:
    """Raises NoLibrary where paho is not installed. `what` needs it: "`announce`"."""
    if find_spec("paho") is None:
        raise NoLibrary(f"{what} needs the library paho-mqtt: install orch-bacalhau[mqtt]")
