"""Hot backups over HTTP."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from orchestrator.domain.clock import to_rfc3339
from orchestrator.store import backup
from orchestrator.web.deps import Deps
from orchestrator.web.routes._common import STRICT, D, api_router

router = api_router("system")
exported = APIRouter(tags=["system"])
_PREFIX = ".backup-"
_CHUNK = 256 * 1024


@exported.get("/export", dependencies=STRICT, response_class=StreamingResponse)
@router.get("/backup", dependencies=STRICT, response_class=StreamingResponse)
def download(d: D) -> StreamingResponse:
    """A backup of the whole store as one file, taken while everything goes on."""
    file, facts = _made(d)
    stamp = to_rfc3339(facts["at"]).replace(":", "").replace("-", "")
    name = f"orch-{d.database.instance}-{stamp}.backup"
    return StreamingResponse(
        _chunks(file),
        media_type="application/vnd.sqlite3",
        headers={
            "Content-Length": str(facts["bytes"]),
            "Content-Disposition": f'attachment; filename="{name}"',
            "Orch-Runs": str(facts["runs"]),
            "Orch-Triggers": str(facts["triggers"]),
        },
    )


def _made(d: Deps) -> tuple[BinaryIO, dict[str, int]]:
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=d.data_dir))
    try:
        facts = backup.create(d.database, directory / "backup")
        # Open and already removed: nothing is left behind, however the download ends.
        return (directory / "backup").open("rb"), facts
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def remove_stale(data_dir: Path) -> None:
    """Remove what a process that was killed while it made a backup has left."""
    for directory in data_dir.glob(f"{_PREFIX}*"):
        shutil.rmtree(directory, ignore_errors=True)
