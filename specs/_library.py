"""The package's own triggers and default jobs, and the modules that they run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from specs._document import Document, load

_EXAMPLES = ("heartbeat", "nightly-report", "count-log")
_TEMPLATES = ("echo", "bash")
_VERSION = 1  # of the images; a task that takes other variables is another version


def library_path() -> Path:
    """The directory that holds the library's YAML files."""
    return Path(str(files("specs"))) / "library"


def task_path(name: str) -> Path:
    """The compiled sample task of this name, such as `hello` or `count`."""
    return Path(str(files("specs"))) / "tasks" / f"{name}.wasm"


def library() -> dict[str, Path]:
    """The example trigger files by name."""
    return {name: library_path() / f"{name}.yaml" for name in _EXAMPLES}


def templates() -> dict[str, Path]:
    """Trigger files of kind `job` that are ready to use, by name."""
    return {name: library_path() / f"{name}.yaml" for name in _TEMPLATES}


def task_images() -> dict[str, Path]:
    """The sample tasks that are Docker images: the program in each, by the image's name.

    Each directory below `tasks` is one, with its Dockerfile beside the program.
    """
    programs = sorted((Path(str(files("specs"))) / "tasks").glob("*/task.py"))
    return {f"orch/{path.parent.name.replace('_', '-')}:{_VERSION}": path for path in programs}


def default_job(
    kind: str, settings: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Document, Path] | None:
    """The job that a trigger of this kind runs if it names none: below `job` in the document.

    A kind whose `mode` decides what a job gets has one for each: `kafka-buffer.yaml`, and
    `kafka.yaml` for the others. `only` beside the job are settings that it needs as they stand.
    Local files in it are relative to the directory given with it. None for a kind without one.
    """
    mode = settings.get("mode")
    if isinstance(mode, str) and mode.isidentifier():
        return _default_job(kind, f"{kind}-{mode}") or _default_job(kind, kind)
    return _default_job(kind, kind)


@lru_cache(maxsize=64)
def _default_job(kind: str, name: str) -> tuple[Document, Path] | None:
    path = library_path() / f"{name}.yaml"
    if not kind.isidentifier() or name in _EXAMPLES + _TEMPLATES or not path.is_file():
        return None
    return load(path.read_bytes(), file=f"specs/library/{path.name}"), path.parent
