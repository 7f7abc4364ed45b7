"""Files that differ in little are read as each would be by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import specs
from connectors.registry import Registry
from orchestrator.operations import checking
from orchestrator.operations.checking import FileChecker

_TEXT = """apiVersion: orch/v1
kind: cron
name: NAME
every: EVERY
job:
  Type: batch
  Tasks:
    - Name: main
      Engine: {Type: docker, Params: {Image: "busybox:1"}}
"""


def _document(name: str, every: str = "1h", text: str = _TEXT) -> specs.Document:
    return specs.load(text.replace("NAME", name).replace("EVERY", every), file=f"{name}.yaml")


def test_each_keeps_its_own_name_settings_and_places() -> None:
    """A file like one before it is not mistaken for it, nor are its mistakes."""
    checker, seen = FileChecker(Registry.load()), dict[str, specs.TriggerFile]()
    first = checker.parse_like(_document("a"), seen)
    second = checker.parse_like(_document("b", "2h"), seen)
    assert (first.name, first.settings) == ("a", {"every": "1h"})
    assert (second.name, second.settings) == ("b", {"every": "2h"})
    late = checker.parse_like(_document("c", "soon", "\n" + _TEXT), seen)
    with pytest.raises(specs.SpecError) as caught:
        checker.check_file(late, base_dir=Path())
    assert str(caught.value).startswith("c.yaml:5:1: every: ")
    assert len(seen) == 1


def test_a_job_of_the_library_depends_on_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without a job share nothing that their settings decide."""
    jobs = {every: specs.from_data({"job": {"Name": every}}) for every in ("1h", "2h")}

    def default_job(kind: str, settings: Any) -> tuple[specs.Document, Path]:
        return jobs[settings["every"]], Path()

    monkeypatch.setattr(checking.specs, "default_job", default_job)
    text = _TEXT.partition("job:")[0]
    checker, seen = FileChecker(Registry.load()), dict[str, specs.TriggerFile]()
    found = [checker.parse_like(_document("a", every, text), seen) for every in jobs]
    assert [file.job["Name"] for file in found] == ["1h", "2h"]


def test_a_module_of_the_files_directory_is_read_each_time(tmp_path: Path) -> None:
    """A job that names a local file is checked anew, because the file may have changed."""
    text = _TEXT.replace("docker", "wasm").replace('Image: "busybox:1"', "EntryModule: ./t.wasm")
    checker, seen = FileChecker(Registry.load()), dict[str, specs.TriggerFile]()
    jobs: list[str] = []
    for module in ("hello", "count"):
        (tmp_path / "t.wasm").write_bytes(specs.task_path(module).read_bytes())
        file = checker.parse_like(_document(module, text=text), seen)
        jobs.append(checker.check_file(file, base_dir=tmp_path).job_text)
    assert jobs[0] != jobs[1]
