"""Makes a trigger's job ready: checked in full, local modules read in, known to fit."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

from specs._paths import BASE_PATHS, KnownPaths
from specs._problems import Path, SpecError
from specs._render import HARD_CAP, MAX_SPEC, encode
from specs._shapes import mapping
from specs._trigger import TriggerFile
from specs._validate import validate_job
from specs._wasm import inline_modules

_ROOM = 4096  # for the name, labels and variables that rendering adds


def prepare(
    trigger: TriggerFile,
    *,
    base_dir: FilePath | None,
    known: KnownPaths = BASE_PATHS,
    max_bytes: int = MAX_SPEC,
) -> dict[str, Any]:
    """Return the job as it is stored and rendered. Raises SpecError with all its problems.

    Local modules are read relative to `base_dir`; None (a request from elsewhere) reads none but
    those of the package's own library.
    """
    problems = validate_job(
        trigger.job,
        known=known,
        policies=trigger.policies,
        document=trigger.document,
        path=trigger.job_path,
    )

    def report(path: Path, message: str, remedy: str) -> None:
        problems.append(trigger.document.problem((*trigger.job_path, *path), message, remedy))

    job = inline_modules(trigger.job, trigger.job_dir or base_dir, report)
    if not problems:
        size = len(encode(job).encode(errors="replace")) + _ROOM
        limit = min(max_bytes, HARD_CAP)
        if size > limit:
            message = f"the job has {size:,} bytes, more than the {limit:,} that are safe"
            report((), message, "Give large data by an input source such as s3, not inline")
    if problems:
        raise SpecError(problems)
    return dict(mapping(job))
