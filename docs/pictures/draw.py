"""Draws `state-machine.svg`: the states of runs and attempts, and every way from one to another.

    python docs/generate.py            writes the picture with the reference

The picture carries its own background and follows the reader's choice of dark or light.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

FILE = Path(__file__).with_name("state-machine.svg")
WIDTH, HEIGHT = 1060, 850

STYLE = """
svg { color-scheme: light dark; font: 13px ui-sans-serif, system-ui, sans-serif; }
.paper { fill: #ffffff; } .title { font-size: 17px; font-weight: 600; }
text { fill: #1f2328; } .name { font-weight: 600; text-anchor: middle; }
.way { fill: none; stroke: #57606a; stroke-width: 1.5; } .tip, .dot { fill: #57606a; }
.label { fill: #57606a; } .open { fill: #ddf4ff; stroke: #0969da; }
.queue { fill: #ffffff; stroke: #0969da; } .good { fill: #dafbe1; stroke: #1a7f37; }
.bad { fill: #ffebe9; stroke: #cf222e; } .even { fill: #eaeef2; stroke: #57606a; }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117; } text { fill: #e6edf3; }
.way { stroke: #9198a1; } .tip, .dot { fill: #9198a1; } .label { fill: #9198a1; }
.open { fill: #0c2d6b; stroke: #58a6ff; } .queue { fill: #0d1117; stroke: #58a6ff; }
.good { fill: #0f5323; stroke: #3fb950; } .bad { fill: #67060c; stroke: #f85149; }
.even { fill: #21262d; stroke: #9198a1; }
}
"""


@dataclass(frozen=True)
class Box:
    """A state: its name, where it stands, and whether it is open, good, bad or neither."""

    name: str
    look: str
    x: int
    y: int
    width: int = 130
    height: int = 56
    name_at: int | None = None  # from the top; None: in the middle


@dataclass(frozen=True)
class Way:
    """From one state to another: corners, and the name of what happens with its place."""

    name: str
    corners: Sequence[tuple[int, int]]
    label_at: tuple[int, int] | None = None
    anchor: str = "middle"


RUN_BOXES = (
    Box("pending", "open", 170, 80, 270, 110, 24),
    Box("future", "queue", 186, 84, 70, 26),
    Box("line", "queue", 186, 118, 70, 34),
    Box("delayed", "queue", 270, 118, 70, 34),
    Box("ready", "queue", 354, 118, 70, 34),
    Box("submitting", "open", 560, 107),
    Box("running", "open", 810, 107),
    Box("skipped", "even", 170, 340),
    Box("cancelled", "even", 395, 340),
    Box("dead", "bad", 600, 340),
    Box("succeeded", "good", 810, 340),
)
RUN_WAYS = (
    Way("admit", [(34, 135), (168, 135)], (100, 127)),
    Way("leave out", [(24, 143), (24, 368), (168, 368)], (115, 360)),
    Way("turn", [(221, 152), (221, 176), (404, 176), (404, 154)], (312, 171)),
    Way("come due", [(221, 110), (221, 117)]),
    Way("wake", [(340, 135), (352, 135)]),
    Way("claim", [(424, 135), (558, 135)], (499, 127)),
    Way("accept, adopt", [(690, 135), (808, 135)], (749, 127)),
    Way("put back", [(1026, 135), (942, 135)], (984, 127)),
    Way("again", [(625, 107), (625, 60), (305, 60), (305, 78)], (465, 52)),
    Way("", [(875, 107), (875, 60), (625, 60)]),
    Way("succeed", [(910, 163), (910, 338)], (918, 300), "start"),
    Way("give up", [(875, 163), (875, 300), (690, 300), (690, 338)], (785, 293)),
    Way("refuse", [(665, 163), (665, 338)], (673, 225), "start"),
    Way("cancel", [(840, 163), (840, 256), (460, 256), (460, 338)], (545, 249)),
    Way("", [(600, 163), (600, 256)]),
    Way("", [(400, 190), (400, 256), (460, 256)]),
    Way(
        "backfill, retry, redrive",
        [(665, 396), (665, 434), (60, 434), (60, 172), (168, 172)],
        (340, 427),
    ),
    Way("", [(460, 396), (460, 434)]),
    Way("", [(235, 396), (235, 434)]),
    Way("discard", [(730, 360), (768, 360), (768, 382), (732, 382)], (754, 400)),
)
ATTEMPT_BOXES = (
    Box("sending", "open", 170, 540),
    Box("accepted", "open", 395, 540),
    Box("running", "open", 620, 540),
    Box("succeeded", "good", 845, 540),
    Box("failed", "bad", 395, 710),
    Box("stopped", "even", 620, 710),
)
ATTEMPT_WAYS = (
    Way("claim", [(34, 568), (168, 568)], (100, 560)),
    Way("accept, adopt", [(300, 568), (393, 568)], (346, 560)),
    Way("seen running", [(525, 568), (618, 568)], (571, 560)),
    Way("succeed", [(750, 568), (843, 568)], (796, 560)),
    Way("", [(460, 540), (460, 510), (910, 510), (910, 538)]),
    Way("fail", [(430, 596), (430, 708)], (424, 660), "end"),
    Way("", [(650, 596), (650, 672), (490, 672), (490, 708)]),
    Way("stop", [(500, 596), (500, 634), (700, 634), (700, 708)], (708, 660), "start"),
    Way("", [(700, 596), (700, 634)]),
    Way("refuse", [(260, 596), (260, 738), (393, 738)], (326, 730)),
    Way("never sent", [(210, 596), (210, 806), (685, 806), (685, 768)], (446, 799)),
)
TITLES = ((24, 36, "A run"), (24, 490, "An attempt: one Bacalhau job"))
DOTS = ((24, 135), (1034, 135), (24, 568))


def _box(box: Box) -> str:
    middle = box.x + box.width // 2
    baseline = box.y + (box.name_at or box.height // 2 + 5)
    return (
        f'<rect class="{box.look}" x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{box.height}" rx="8"/>'
        f'<text class="name" x="{middle}" y="{baseline}">{escape(box.name)}</text>'
    )


def _way(way: Way) -> str:
    points = " ".join(f"{x},{y}" for x, y in way.corners)
    # A way without a name joins another one: only that one has the tip, unless it ends in a box.
    tip = "" if not way.name and not _ends_in_box(way) else ' marker-end="url(#tip)"'
    text = f'<polyline class="way" points="{points}"{tip}/>'
    if way.label_at is not None:
        x, y = way.label_at
        text += (
            f'<text class="label" x="{x}" y="{y}" text-anchor="{way.anchor}">'
            f"{escape(way.name)}</text>"
        )
    return text


def _ends_in_box(way: Way) -> bool:
    x, y = way.corners[-1]
    return any(
        box.x - 4 <= x <= box.x + box.width + 4 and box.y - 4 <= y <= box.y + box.height + 4
        for box in (*RUN_BOXES, *ATTEMPT_BOXES)
    )


def _lines() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" role="img" aria-labelledby="title">'
    )
    yield '<title id="title">States of runs and attempts, and the ways between them</title>'
    yield f"<style>{STYLE}</style>"
    yield (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="tip" d="M0 0 10 5 0 10z"/></marker></defs>'
    )
    yield f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
    for x, y, title in TITLES:
        yield f'<text class="title" x="{x}" y="{y}">{escape(title)}</text>'
    for x, y in DOTS:
        yield f'<circle class="dot" cx="{x}" cy="{y}" r="8"/>'
    # Boxes first: ways inside `pending` must not be hidden by it.
    for box in (*RUN_BOXES, *ATTEMPT_BOXES):
        yield _box(box)
    for way in (*RUN_WAYS, *ATTEMPT_WAYS):
        yield _way(way)
    yield "</svg>"


def picture() -> str:
    """The picture as SVG."""
    return "\n".join(_lines()) + "\n"
