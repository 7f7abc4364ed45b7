"""Downloads a backup: the file is complete and on the disk, or absent."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from orchestrator.cli.errors import CliError
from orchestrator.cli.http import Api

_CHUNK = 256 * 1024
_READ = 3600.0  # seconds: a large store takes its time before the first byte


def download(api: Api, file: Path) -> dict[str, Any]:
    """Fetch a backup into a new file. Raises CliError."""
    if os.path.lexists(file):
        raise CliError(f"{file} exists already: a backup overwrites nothing, choose another name")
    if not file.parent.is_dir():
        raise CliError(f"{file.parent} is no directory: make it first, or choose another")
    response = api.request("GET", "backup", stream=True, read_timeout=_READ)
    expected = int(response.headers.get("Content-Length", -1))
    descriptor, partial = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        size = 0
        with os.fdopen(descriptor, "wb") as out:
            for chunk in api.chunks(response, _CHUNK):
                size += out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if size != expected:
            raise CliError(f"{api.url} sent {size:,} of {expected:,} bytes: try again")
        os.link(partial, file)  # unlike a rename it overwrites nothing
    except FileExistsError as error:
        raise CliError(f"{file} exists already: choose another name") from error
    finally:
        Path(partial).unlink(missing_ok=True)
    return {
        "file": str(file),
        "bytes": size,
        "runs": int(response.headers.get("Orch-Runs", 0)),
        "triggers": int(response.headers.get("Orch-Triggers", 0)),
    }
