"""What a task says of its events in the result that it publishes.

A job with a result path of the name ``orch`` may leave the file ``failed.json`` in it. The cluster
says where the packed result lies, by an address that needs no credentials of ours (the presigned
one of an object in S3, or the node's own of the publisher ``local``).
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from bacalhau_client import Job, SpecConfig
from connectors import outbound
from orchestrator.domain.partial import BadList, failed_in_file

RESULT = "orch"
FILE = f"{RESULT}/failed.json"
_MAX_LIST: Final = 1 << 20
_MAX_PACKED: Final = 8 << 20
_MAX_UNPACKED: Final = 64 << 20
_TIMEOUT: Final = 30.0
_ADDRESS = {"s3PreSigned": "PreSignedURL", "urlDownload": "URL"}

Fetch = Callable[[str], outbound.Answer]


class NotThere(Exception):
    """The result cannot be read now; perhaps later. The text holds no address: it may be a
    credential."""


def fetch(url: str) -> outbound.Answer:
    """The beginning of a result. Raises outbound.NoAnswer."""
    # The bucket or node of a cluster's own is often in a private network.
    return outbound.request("GET", url, limit=_MAX_PACKED, timeout=_TIMEOUT, allow_private=True)


def is_published(job: Job) -> bool:
    """Whether a job's tasks may say in their result which events have failed."""
    return any(
        task.publisher.type and any(path.get("Name") == RESULT for path in _paths(task.raw))
        for task in job.tasks
    )


def failed_in(
    results: Sequence[SpecConfig], count: int, fetch: Fetch = fetch
) -> list[tuple[int, int]]:
    """The ranges that the results of a job's `count` executions name. Raises NotThere, BadList."""
    if len(results) < count:
        raise NotThere(f"the cluster names {len(results)} of {count} results")
    failed: list[tuple[int, int]] = []
    for result in results:
        text = _file(_download(result, fetch))
        failed += () if text is None else failed_in_file(text)
    return failed


def _paths(task: Any) -> Sequence[Any]:
    return [path for path in task.get("ResultPaths") or () if isinstance(path, dict)]


def _download(result: SpecConfig, fetch: Fetch) -> outbound.Answer:
    url = result.params.get(_ADDRESS.get(result.type, ""))
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise BadList(
            f"the result of the task is published as {result.type}, which orch cannot read: let "
            "the cluster sign addresses of S3, or name failed events in the first line of output"
        )
    try:
        answer = fetch(url)
    except outbound.NoAnswer as error:
        raise NotThere(str(error)) from error
    if answer.status != 200:
        raise NotThere(f"the answer is {answer.status}")
    return answer


def _file(answer: outbound.Answer) -> str | None:
    """The list in a packed result; None where it holds none."""
    unpacked = _Bounded(gzip.GzipFile(fileobj=io.BytesIO(answer.content)))
    try:
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if member.name.removeprefix("./") != FILE:
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or member.size > _MAX_LIST:
                    raise BadList(f"{FILE} in the result is no file of at most {_MAX_LIST} bytes")
                return content.read().decode(errors="replace")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        if answer.whole and not unpacked.full:
            raise BadList(f"the result of the task is no tar.gz: {error}") from error
        unpacked.full = True
    if unpacked.full or not answer.whole:
        raise BadList(
            f"{FILE} is not within the first {_MAX_PACKED >> 20} MiB of the result "
            f"({_MAX_UNPACKED >> 20} MiB unpacked): publish less, or name failed events in the "
            "first line of output"
        )
    return None


class _Bounded(io.RawIOBase):
    """Content that ends where it becomes too much."""

    def __init__(self, content: gzip.GzipFile) -> None:
        super().__init__()
        self._content = content
        self._left = _MAX_UNPACKED
        self.full = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        block = self._content.read(min(len(buffer), self._left + 1))
        if len(block) > self._left:
            self.full = True
            raise EOFError("too much")
        buffer[: len(block)] = block
        self._left -= len(block)
        return len(block)
