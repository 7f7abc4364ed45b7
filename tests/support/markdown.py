"""Code blocks of the documentation, with what the comment above each says about it.

<!-- not run: REASON -->    the block cannot run here; the reason is shown by a test
<!-- file: NAME -->         the block is that file, for the commands that follow
<!-- exit: N -->            the last command of the block ends with this exit code
<!-- varies: numbers -->    every number in the output stands for any number
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
_COMMENT = re.compile(r"^ *<!-- (?P<word>not run|file|exit|varies): (?P<value>.+?) -->\s*$")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block. `line` is that of its first fence."""

    file: Path
    line: int
    language: str
    text: str
    not_run: str = ""
    name: str = ""
    exit_code: int = 0
    varies: bool = False

    @property
    def place(self) -> str:
        """Where it stands, for an error."""
        return f"{self.file.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A `$ ` line of a console block and the output that stands below it."""

    line: str
    output: str


def documents() -> list[Path]:
    """Every page that a person wrote: the root's and those below docs, the reference left out."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(p for p in pages if (ROOT / "docs" / "reference") not in p.parents)


def blocks(file: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = file.read_text(encoding="utf-8").splitlines()
    number = 0
    notes: dict[str, str] = {}
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        comment = _COMMENT.match(lines[number])
        if comment:
            notes[comment["word"]] = comment["value"]
        elif fence is None:
            notes = {} if lines[number].strip() else notes
        else:
            begin = number
            indent = len(fence["indent"])
            number += 1
            body: list[str] = []
            while lines[number].strip() != "```":
                body.append(lines[number][indent:])
                number += 1
            yield Block(
                file=file,
                line=begin + 1,
                language=fence["language"],
                text="\n".join(body) + "\n",
                not_run=notes.get("not run", ""),
                name=notes.get("file", ""),
                exit_code=int(notes.get("exit", "0")),
                varies="varies" in notes,
            )
            notes = {}
        number += 1


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line=line[2:], output=""))
        elif line.startswith("> ") and found and not found[-1].output:
            found[-1] = Command(line=f"{found[-1].line}\n{line[2:]}", output="")
        elif found:
            last = found[-1]
            found[-1] = Command(line=last.line, output=f"{last.output}{line}\n")
    return found


def shows(stated: str, got: str, *, varies: bool = False) -> bool:
    """Whether an output is as the page states it.

    `…` stands for anything within a line, and alone on a line for any number of lines; the id of a
    run stands for any. `varies`: a number stands for any number. White space counts as one blank,
    since tables are as wide as what they hold.
    """
    wanted = [" ".join(line.split()) for line in stated.splitlines() if line.strip()]
    lines = "".join(" ".join(line.split()) + "\n" for line in got.splitlines() if line.strip())
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else _pattern(line, varies=varies) + r" *\n" for line in wanted
    )
    return re.fullmatch(pattern, lines) is not None


def _pattern(line: str, *, varies: bool) -> str:
    parts = re.split(r"(…|\br[0-9a-f]{24}\b|[0-9]+)", line)
    return "".join(_part(part, varies=varies) for part in parts)


def _part(part: str, *, varies: bool) -> str:
    if part == "…":
        return ".*?"
    if re.fullmatch(r"r[0-9a-f]{24}", part):
        return part[0] + "[0-9a-f]{24}"
    return "[0-9]+" if varies and part.isdecimal() else re.escape(part)
