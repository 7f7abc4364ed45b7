"""Input sources that a run brings along, beside those of its job.

They come from a connector, not from a file that a person wrote: they are checked when a run is
rendered, and hold no `${{ }}`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from specs._schema import SOURCES
from specs._shapes import is_mapping, mapping
from specs._wasm import inline_source

RUN_SOURCES = ("s3", "localDirectory", "ipfs", "inline", "urlDownload")
"""Types of input source that a run may bring."""

_KEYS = {"Source", "Target", "Alias"}
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
_DATA_URL = re.compile(r"data:(?P<type>[^;,]+);base64,")


class InputError(ValueError):
    """An input source that cannot be given to a task; the text is for people."""


@dataclass(frozen=True, kw_only=True)
class InlineInput:
    """Data that a task finds as a file at `target`."""

    target: str
    data: bytes
    media_type: str = "application/octet-stream"


def place(target: str) -> str:
    """A target as it is compared: `/in/` and `/in` are one place."""
    return posixpath.normpath(target)


def added_sources(
    taken: Iterable[str],
    inputs: Sequence[Mapping[str, Any]],
    inline: Sequence[InlineInput],
) -> list[Mapping[str, Any]]:
    """Return what is added to a job whose own inputs have the places `taken`. Raises InputError."""
    result = [*inputs, *(_inline(item) for item in inline)]
    places = set(taken)
    for source in result:
        _check(source)
        where = place(source["Target"])
        if where in places:
            raise InputError(f"two inputs have the target {source['Target']}")
        places.add(where)
    return result


def _inline(item: InlineInput) -> Mapping[str, Any]:
    _check_media_type(item.media_type)
    return inline_source(item.target, item.data, item.media_type)


def _check_media_type(media_type: str) -> None:
    # The node unpacks a gzip as an archive instead of writing the file.
    if not _MEDIA_TYPE.fullmatch(media_type) or "gzip" in media_type:
        raise InputError(f"{media_type!r} is no media type for an inline input")


def _check(item: Mapping[str, Any]) -> None:
    target = item.get("Target")
    if not isinstance(target, str) or not target.startswith("/") or "\0" in target:
        raise InputError(f"an input has the target {target!r}, which is no absolute path")
    if place(target) == "/" or ".." in target.split("/"):
        raise InputError(f"an input has the target {target!r}, which is no path below /")
    source = mapping(item.get("Source"))
    kind = source.get("Type")
    if kind not in RUN_SOURCES or not item.keys() <= _KEYS or set(source) != {"Type", "Params"}:
        raise InputError(
            f"the input at {target} is of type {kind!r}; a run brings {', '.join(RUN_SOURCES)}, "
            "each with Type and Params"
        )
    _check_params(kind, target, source["Params"])


def _check_params(kind: str, target: str, params: object) -> None:
    shape = SOURCES[kind]
    if not is_mapping(params) or not shape.keys.keys() >= params.keys():
        raise InputError(f"the input at {target} has parameters that {kind} does not know")
    if any(not params.get(key) for key in shape.required):
        raise InputError(f"the input at {target} lacks one of {', '.join(shape.required)}")
    match kind:
        case "s3" if not params.get("Key") or str(params["Key"]).endswith("*"):
            # A star makes the key a prefix, and an empty one names the whole bucket.
            raise InputError(f"the input at {target} does not name one object by its key")
        case "localDirectory" if not str(params["SourcePath"]).startswith("/"):
            raise InputError(f"the input at {target} is no absolute path on the node")
        case "inline":
            head = _DATA_URL.match(str(params["URL"]))
            if head is None:
                raise InputError(f"the input at {target} is no data: URL in base64")
            _check_media_type(head["type"])
        case _:
            pass
