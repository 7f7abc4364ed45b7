"""The pages hang together: links lead somewhere, the reference and the picture are the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.domain.states import AttemptState, Queue, RunState
from tests.support.markdown import ROOT, documents

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`(?!\])")
_PAGES = sorted({*documents(), *(ROOT / "docs" / "reference").glob("*.md")})


def _prose(file: Path) -> str:
    return _CODE.sub("", _FENCED.sub("", file.read_text(encoding="utf-8")))


def _anchors(file: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading["text"].lower().replace("`", "")).replace(" ", "-")
        for heading in _HEADING.finditer(_prose(file))
    }


def _targets(file: Path) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for link in _LINK.finditer(_prose(file)):
        path, _, anchor = link["target"].partition("#")
        if not path.startswith(("http://", "https://", "mailto:")):
            found.append(((file.parent / path).resolve() if path else file, anchor))
    return found


def test_every_link_leads_somewhere():
    """Files exist, and so do the headings that links name."""
    broken: list[str] = []
    for file in _PAGES:
        for target, anchor in _targets(file):
            ends_in_page = target.suffix == ".md" and target.is_file()
            if not target.exists() or (anchor and ends_in_page and anchor not in _anchors(target)):
                broken.append(f"{file.relative_to(ROOT)} -> {target}#{anchor}")
    assert not broken


def test_every_page_can_be_reached_from_the_readme():
    """Nobody finds a page to which nothing leads."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        file = waiting.pop()
        if file in reached or file.suffix != ".md" or not file.is_file():
            continue
        reached.add(file)
        waiting += [
            target / "README.md" if target.is_dir() else target for target, _ in _targets(file)
        ]
    assert set(_PAGES) <= reached


def test_the_reference_is_what_the_code_says():
    """A changed option, setting, endpoint, metric or state changes its page."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"run `make docs` and commit the result:\n{done.stdout}{done.stderr}"
    )


def test_the_picture_shows_every_state():
    """A new state must find its place in the picture."""
    picture = (ROOT / "docs" / "pictures" / "state-machine.svg").read_text()
    drawn = re.findall(r'<text class="name"[^>]*>([^<]+)<', picture)
    assert sorted(drawn) == sorted([*RunState, *Queue, *AttemptState])


def test_every_way_in_the_picture_is_explained():
    """Each arrow's name stands in the tables below the picture."""
    picture = (ROOT / "docs" / "pictures" / "state-machine.svg").read_text()
    names = set(re.findall(r'<text class="label"[^>]*>([^<]+)<', picture))
    tables = (ROOT / "docs" / "state-machine.md").read_text()
    assert names
    assert not {name for name in names if f"| {name} |" not in tables}


def test_every_failpoint_that_the_architecture_names_is_there():
    """The table of what happens when it is killed names points that the code passes."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.partition("## Killed right here")[2].partition("\n## ")[0]
    named = set(
        re.findall(r"`((?:commit|firing|dispatch|send|watch|stop|callback)\.[a-z.]+)`", section)
    )
    reference = (ROOT / "docs" / "reference" / "failpoints.md").read_text()
    known = set(re.findall(r"^\| `([^`]+)`", reference, re.MULTILINE))
    missing = {
        name
        for name in named
        if name not in known and name.removeprefix("commit.").rpartition(".")[0] not in known
    }
    assert len(named) > 15
    assert not missing


@pytest.mark.parametrize("file", _PAGES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_page_names_a_place_of_one_machine(file: Path):
    """Paths of home and temporary directories mean nothing to a reader."""
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work)/", file.read_text(encoding="utf-8"))


def test_the_reference_speaks_no_python():
    """Choices, durations and defaults are shown as a person writes them."""
    pythonic = re.compile(r"typing\.|<class|collections\.|Undefined|\bdict\[|\bNone\b")
    for page in ("trigger-file.md", "settings.md"):
        text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
        assert not pythonic.findall(text), page
