"""Reads many YAML files that have most of their text in common.

A directory of ten thousand triggers mostly has one job. What is below a key at the margin is read
by itself and kept, so that the same lines in another file are not read again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from specs._problems import SpecError
from specs._shapes import is_mapping
from specs._yaml import compose, find, read_yaml

if TYPE_CHECKING:
    from specs._document import Places

_KEEP = 256
_KEEP_CHARS = 64 * 1024  # of each
_BLOCKS = 100  # of a file

_HEAD = re.compile(r"(?:(?:#[^\n]*|\r?)\n)*")
# A key at the margin with the lines below it that cannot begin another one.
_BLOCK = re.compile(
    r"([A-Za-z][A-Za-z0-9_-]*):(?:[ ][^\n]*)?\r?(?:\n|\Z)"
    r"((?:(?:[ #][^\n]*|-[ ][^\n]*|\r?)\n|[ #-][^\n]*\Z)*)"
)


class Blocks:
    """What files of one directory share. The values of `read` are shared, too: not to be changed.

    For one thread.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def read(self, text: str) -> tuple[dict[str, Any], Places] | None:
        """Read a document as `read_yaml` would.

        None where the text is not plainly a list of keys, or anything is wrong with it: then only
        the whole text tells what it says, and in which line.
        """
        if "&" in text:
            return None  # an anchor may be meant from another block
        order: list[str] = []
        short: dict[str, str] = {}
        found: dict[str, Any] = {}
        head = _HEAD.match(text)
        position = head.end() if head else 0
        while position < len(text):
            block = _BLOCK.match(text, position)
            if block is None or block[1] in order or len(order) == _BLOCKS:
                return None
            position = block.end()
            order.append(block[1])
            if block[2]:
                value = self._shared(block[1], block[0])
                if value is None:
                    return None
                found |= value
            else:
                short[block[1]] = block[0]
        if short:
            values = _read("".join(short.values()), [*short])
            if values is None:
                return None
            found |= values
        data = {key: found[key] for key in order}
        return (data, lambda path: find(compose(text), path)) if data else None

    def _shared(self, key: str, block: str) -> dict[str, Any] | None:
        found = self._kept.get(block)
        if found is not None:
            self._kept.move_to_end(block)
            return found
        found = _read(block, [key])
        if found is not None and len(block) <= _KEEP_CHARS:
            self._kept[block] = found
            if len(self._kept) > _KEEP:
                self._kept.popitem(last=False)
        return found


def _read(text: str, keys: list[str]) -> dict[str, Any] | None:
    """The values of these keys; None unless the text says them and nothing else."""
    try:
        data, _ = read_yaml(text, "")
    except SpecError:
        return None
    return dict(data) if is_mapping(data) and list(data) == keys else None
