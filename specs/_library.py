"""The package's own triggers and default jobs, and the modules that they run."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from specs._document import Document, load

_EXAMPLES = ("heartbeat", "nightly-report", "count-log")


def library_path() -> Path:
    """The directory that holds the library's YAML files."""
    return Path(str(files("specs"))) / "library"


def task_path(name: str) -> Path:
    """The compiled sample task of this name, such as `hello` or `count`."""
    return Path(str(files("specs"))) / "tasks" / f"{name}.wasm"


def library() -> dict[str, Path]:
    """The example trigger files by name."""
    return {name: library_path() / f"{name}.yaml" for name in _EXAMPLES}


@cache
def default_job(kind: str) -> tuple[Document, Path] | None:
    """The job that a trigger of this kind runs if it names none: below `job` in the document.

    Local files in it are relative to the directory given with it. None for a kind without one.
    """
    path = library_path() / f"{kind}.yaml"
    if not kind.isidentifier() or kind in _EXAMPLES or not path.is_file():
        return None
    return load(path.read_bytes(), file=f"specs/library/{path.name}"), path.parent
