"""Input sources: what a compute node asks about them, and how it lays them out for a task."""

from __future__ import annotations

import base64
import binascii
import http.client
import posixpath
import shutil
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from . import s3
from .executors import Mount, TaskFailed
from .states import Json, mapping, sequence

_HEAD_TRIES = 4
_ANSWER_WITHIN = 30.0
_MAX_DOWNLOAD = 2 * 1024**3
_SCANNING = "Exec Scanning"
_SIZING = "calculating resource usage of job: "


class _NoRedirectToFiles(urllib.request.HTTPRedirectHandler):
    """Follows redirects to HTTP only."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*args, **kwargs)
        if request is not None and not request.full_url.startswith(("http://", "https://")):
            raise urllib.error.URLError("redirect to something that is not HTTP")
        return request


class Inputs:
    """Knows what this node may read."""

    def __init__(
        self, local_allow: Sequence[str], access: s3.Access, *, head_retry_wait: float
    ) -> None:
        self._readable: list[Path] = []
        self._writable: list[Path] = []
        for entry in local_allow:
            path, _, mode = (
                entry.rpartition(":")
                if entry.endswith((":rw", ":ro"))
                else (
                    entry,
                    "",
                    "ro",
                )
            )
            resolved = Path(path).resolve()
            self._readable.append(resolved)
            if mode == "rw":
                self._writable.append(resolved)
        self._s3 = access
        self._wait = head_retry_wait
        self._opener = urllib.request.build_opener(_NoRedirectToFiles())

    @staticmethod
    def need_network(task: Json) -> bool:
        """Whether `check` may take long."""
        return any(
            source["Source"]["Type"].lower() in ("s3", "urldownload")
            for source in sequence(task, "InputSources")
        )

    def check(self, task: Json) -> None:
        """Asks for every input's size, as a node does before it takes a job; raises TaskFailed."""
        for source in sequence(task, "InputSources"):
            parameters: Json = mapping(source["Source"], "Params")
            match source["Source"]["Type"].lower():
                case "localdirectory" | "local":
                    self._allowed(parameters)
                case "urldownload":
                    self._head(str(parameters.get("URL", "")))
                case "s3":
                    try:
                        self._s3.find(parameters)
                    except s3.S3Error as error:
                        raise TaskFailed(f"{_SIZING}{error}", _SCANNING, error.details) from error
                case _:
                    decoded(str(parameters.get("URL", "")))

    def lay_out(self, task: Json, tree: Path, *, leave_out: str) -> list[Mount]:
        """Puts the inputs below `tree` at their targets; the target `leave_out` is skipped."""
        mounts: list[Mount] = []
        for source in sequence(task, "InputSources"):
            if source["Target"] == leave_out:
                continue
            target = clean_target(source["Target"])
            place = tree / target.lstrip("/")
            parameters: Json = mapping(source["Source"], "Params")
            match source["Source"]["Type"].lower():
                case "localdirectory" | "local":
                    path, writable = self._allowed(parameters)
                    mounts.append(Mount(source=path, target=target, writable=writable))
                    if path.is_file() and not writable:
                        place.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(path, place)
                case "urldownload":
                    url = str(parameters.get("URL", ""))
                    name = posixpath.basename(urllib.parse.urlsplit(url).path) or "download"
                    self._download(url, _made(place / safe_name(name)))
                    mounts.append(_mount(tree, place / safe_name(name)))
                case "s3":
                    mounts += self._fetch(parameters, tree, place)
                case _:
                    mounts.append(_inline(str(parameters.get("URL", "")), tree, place))
        return mounts

    @staticmethod
    def inline_module(task: Json, target: str) -> bytes | None:
        """The content of the inline input source with that target, None where it is no such."""
        for source in sequence(task, "InputSources"):
            if source["Target"] == target and source["Source"]["Type"].lower() == "inline":
                return decoded(str(mapping(source["Source"], "Params").get("URL", "")))[1]
        return None

    def _allowed(self, parameters: Json) -> tuple[Path, bool]:
        given = str(parameters.get("SourcePath", ""))
        writable = bool(parameters.get("ReadWrite"))
        path = Path(given).resolve()
        allowed = self._writable if writable else self._readable
        if not given.startswith("/") or not any(path.is_relative_to(root) for root in allowed):
            raise TaskFailed(
                f"{_SIZING}volume {given} is not allowlisted",
                _SCANNING,
                {
                    "ErrorCode": "Bacalhau:ConfigurationError",
                    "Hint": "Verify Compute.AllowListedLocalPaths configuration property",
                },
            )
        if not path.exists():
            raise TaskFailed(f"{_SIZING}stat {given}: no such file or directory", _SCANNING)
        return path, writable

    def _head(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise TaskFailed(f"{_SIZING}URL must begin with 'http' or 'https': {url}", _SCANNING)
        for attempt in range(_HEAD_TRIES):
            if attempt:
                time.sleep(self._wait)
            try:
                request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - checked above
                with self._opener.open(request, timeout=_ANSWER_WITHIN):
                    return
            except (OSError, http.client.HTTPException):
                continue
        raise TaskFailed(
            f"{_SIZING}error getting job disk space requirements: HEAD {url} "
            f"giving up after {_HEAD_TRIES} attempt(s)",
            _SCANNING,
            {"ErrorCode": "Bacalhau:"},
        )

    def _download(self, url: str, place: Path) -> None:
        try:
            with (
                self._opener.open(url, timeout=_ANSWER_WITHIN) as answer,
                place.open("wb") as file,
            ):
                _copy_limited(answer, file)
        except (OSError, http.client.HTTPException) as error:
            raise TaskFailed(f"failed to begin download from url {url}: {error}") from error

    def _fetch(self, parameters: Json, tree: Path, place: Path) -> list[Mount]:
        try:
            found = self._s3.find(parameters)
            for key in found:
                self._s3.download(parameters, key, _made(place / safe_name(key)))
        except s3.S3Error as error:
            raise TaskFailed(str(error), details=error.details) from error
        return [_mount(tree, place / safe_name(key)) for key in found]


def safe_name(key: str) -> str:
    """The last part of a key or path, as the name of a file; raises TaskFailed."""
    name = posixpath.basename(key)
    if name in ("", ".", "..") or "\0" in name:
        raise TaskFailed(f"failed to store input: {key!r} does not end in a file's name")
    return name


def clean_target(target: str) -> str:
    """An absolute path without `..`; raises TaskFailed for the root itself."""
    clean = posixpath.normpath("/" + target.lstrip("/"))
    if clean == "/" or "\0" in clean:
        raise TaskFailed(f"failed to mount input: {target!r} is not a path below /")
    return clean


def decoded(url: str) -> tuple[str, bytes]:
    """Type and bytes of a `data:` URL; raises TaskFailed."""
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not comma:
        raise TaskFailed("failed to decode inline input: not a data: URL", _SCANNING)
    kind, *options = head[5:].split(";")
    try:
        if "base64" in options:
            content = base64.b64decode(data, altchars=b"-_" if "-" in data or "_" in data else None)
        else:
            content = urllib.parse.unquote_to_bytes(data)
    except (binascii.Error, ValueError) as error:
        raise TaskFailed(f"failed to decode inline input: {error}", _SCANNING) from error
    return kind, content


def _inline(url: str, tree: Path, place: Path) -> Mount:
    kind, content = decoded(url)
    if kind == "application/gzip":
        place.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as archive:
                archive.extractall(place, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise TaskFailed(f"failed to unpack inline input: {error}") from error
    else:
        _made(place).write_bytes(content)
        place.chmod(0o600)
    return _mount(tree, place)


def _made(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _mount(tree: Path, place: Path) -> Mount:
    return Mount(source=place, target="/" + place.relative_to(tree).as_posix())


def _copy_limited(source: Any, target: Any) -> None:
    copied = 0
    while data := source.read(1 << 16):
        copied += len(data)
        if copied > _MAX_DOWNLOAD:
            raise OSError(f"more than {_MAX_DOWNLOAD} bytes")
        target.write(data)
