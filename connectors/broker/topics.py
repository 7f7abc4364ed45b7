"""Names of topics and filters on them, as MQTT has them (MQTT 5.0, 4.7 and 4.8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from connectors.fields import error
from connectors.jsontext import text_fault
from connectors.validation import shown

MAX_BYTES = 65_535
_SHARE = "$share/"
_FILTER = "write one such as sensors/+/temperature or sensors/#"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which topics are wanted."""

    text: str
    """As a broker is asked for it."""
    levels: tuple[str, ...]
    """Without the group of a shared subscription."""
    group: str = ""
    """That of a shared subscription; "" for one of one's own."""

    def matches(self, topic: str) -> bool:
        """Whether messages on a topic are wanted."""
        names = topic.split("/")
        # Topics of the broker itself are not meant by a wildcard that comes first.
        if topic.startswith("$") and self.levels[0] in ("+", "#"):
            return False
        for at, level in enumerate(self.levels):
            if level == "#":
                return True
            if at >= len(names) or level not in ("+", names[at]):
                return False
        return len(names) == len(self.levels)


def parse_filter(text: str) -> Filter:
    """Read a filter. Raises :class:`connectors.abc.SettingsError`."""
    _check_text(text)
    group, rest = "", text
    if text.startswith(_SHARE):
        group, _, rest = text[len(_SHARE) :].partition("/")
        if not group or not rest or "+" in group or "#" in group:
            remedy = "write $share/GROUP/FILTER"
            raise error(f"{shown(text)} is no shared subscription", remedy)
    levels = tuple(rest.split("/"))
    for at, level in enumerate(levels):
        if level == "#" and at + 1 < len(levels):
            raise error(f"{shown(text)}: # stands before the end", _FILTER)
        if len(level) > 1 and ("+" in level or "#" in level):
            raise error(f"{shown(text)}: + and # fill a level", _FILTER)
    return Filter(text=text, levels=levels, group=group)


def check_topic(text: str) -> str:
    """The name of a topic to publish on. Raises :class:`connectors.abc.SettingsError`."""
    _check_text(text)
    if "+" in text or "#" in text or text.startswith("$"):
        remedy = "write it without + and #, and without $ at its beginning"
        raise error(f"{shown(text)} is not the name of a topic", remedy)
    return text


def _check_text(text: str) -> None:
    if not text:
        raise error("there is nothing", _FILTER)
    if text_fault(text) is not None or not text.isprintable():
        raise error(f"{shown(text)} has signs that no topic has", _FILTER)
    if len(text.encode()) > MAX_BYTES:
        raise error(f"the text has more than {MAX_BYTES} bytes", "write a shorter one")


def _filter(text: str) -> str:
    parse_filter(text)
    return text


TopicFilter = Annotated[str, AfterValidator(_filter)]
"""A filter, perhaps of a shared subscription, checked and kept as it was written."""
TopicName = Annotated[str, AfterValidator(check_topic)]
"""The name of one topic."""
