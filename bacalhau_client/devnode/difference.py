"""The text of `PUT …/jobs/diff`: for people, like a real node's, not for programs."""

from __future__ import annotations

import difflib
import json

from .spec import RESERVED_META
from .states import Json, mapping

_SPACE = "\u00a0"


def difference(known: Json, given: Json) -> str:
    """The lines in which two specs differ, with some around them; empty where they are equal."""
    before, after = _lines(known), _lines(given)
    if before == after:
        return ""
    marks = {" ": _SPACE * 2, "-": f"-{_SPACE}", "+": f"+{_SPACE}"}
    body = [
        marks[line[0]] + line[1:]
        for line in difflib.unified_diff(before, after, n=3, lineterm="")
        if line[0] in marks and not line.startswith(("---", "+++"))
    ]
    head = f"{_SPACE * 2}&models.Job{{"
    return "\n".join([head, *body, f"{_SPACE * 2}}}", ""])


def _lines(spec: Json) -> list[str]:
    compared = {key: value for key, value in spec.items() if key != "ID"}
    meta = mapping(compared, "Meta")
    compared["Meta"] = {k: v for k, v in meta.items() if not k.startswith(RESERVED_META)}
    return json.dumps(compared, indent="\t", sort_keys=True, ensure_ascii=False).splitlines()
