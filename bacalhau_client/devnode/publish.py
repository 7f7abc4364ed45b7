"""Publishers: a task's result paths and output, packed as `.tar.gz`, to S3 or a local folder."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from .executors import Mount, TaskFailed
from .inputs import clean_target, safe_name
from .logs import STDERR, STDOUT, LogWriter
from .model import dumps
from .s3 import Access, S3Error
from .states import Json, mapping, sequence

NOTHING = '{"Type":""}'
_PUBLISHING = "Publishing Execution"


def result_mounts(task: Json, directory: Path) -> list[Mount]:
    """Empty folders for the task's result paths, writable."""
    mounts: list[Mount] = []
    for path in sequence(task, "ResultPaths"):
        place = directory / "outputs" / safe_name(str(path.get("Name", "")))
        place.mkdir(parents=True, exist_ok=True)
        mounts.append(Mount(source=place, target=clean_target(str(path["Path"])), writable=True))
    return mounts


class Publisher:
    """Delivers results after a task has ended by itself."""

    def __init__(self, results: Path, access: Access) -> None:
        self._results = results
        self._s3 = access

    def publish(
        self, task: Json, names: Json, directory: Path, log: LogWriter, exit_code: int
    ) -> str:
        """The execution's `PublishedResult` as JSON; raises TaskFailed.

        `names` holds what may stand in a key: `jobID` and `executionID`.
        """
        kind = task["Publisher"]["Type"].lower()
        if kind not in ("s3", "local"):
            return NOTHING
        archive = _pack(task, directory, log, exit_code)
        parameters: Json = mapping(task["Publisher"], "Params")
        if kind == "local":
            place = self._results / f"{names['executionID']}.tar.gz"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(archive, place)
            return dumps({"Type": "urlDownload", "Params": {"URL": place.as_uri()}})
        key = str(parameters.get("Key", ""))
        for name, value in names.items():
            key = key.replace("{" + name + "}", value)
        if not key.endswith(".tar.gz"):
            key += ".tar.gz"
        try:
            self._s3.upload(parameters, key, archive)
        except S3Error as error:
            raise TaskFailed(f"failed to publish: {error}", _PUBLISHING, error.details) from error
        return dumps({"Type": "s3", "Params": _source(parameters, key)})

    def results(self, published: Iterable[Json]) -> list[Json]:
        """The `Items` of a job's results: S3 objects with a URL that reads them."""
        items: list[Json] = []
        for result in published:
            if result.get("Type") == "s3":
                parameters = result["Params"]
                url = self._s3.presigned(parameters)
                pointer: Json = {"Managed": False, "PreSignedURL": url, "SourceSpec": parameters}
                items.append({"Type": "s3PreSigned", "Params": pointer})
            elif result.get("Type"):
                items.append(result)
        return items


def _source(parameters: Json, key: str) -> Json:
    return {
        "Bucket": parameters.get("Bucket", ""),
        "ChecksumSHA256": "",
        "Endpoint": parameters.get("Endpoint", ""),
        "Filter": "",
        "Key": key,
        "Partition": {
            "DateFormat": "",
            "EndIndex": 0,
            "Pattern": "",
            "StartIndex": 0,
            "Type": "",
        },
        "Region": parameters.get("Region", ""),
        "VersionID": "",
    }


def _pack(task: Json, directory: Path, log: LogWriter, exit_code: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("stdout", log.head(STDOUT)),
        ("stderr", log.head(STDERR)),
        ("exitCode", str(exit_code).encode()),
    ):
        (directory / name).write_bytes(content)
    archive = directory / "result.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for name in ("stdout", "stderr", "exitCode"):
            packed.add(directory / name, arcname=name)
        for path in sequence(task, "ResultPaths"):
            name = safe_name(str(path["Name"]))
            packed.add(directory / "outputs" / name, arcname=name)
    return archive
