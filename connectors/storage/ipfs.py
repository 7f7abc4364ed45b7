"""Objects in IPFS, by the RPC API of a Kubo node.

Content is added and pinned; a name is an entry in the node's files (MFS) that points to it. The
entry keeps the content from being collected as well, so that removing one of two objects with the
same content, and its pin, does not touch the other. Importing is the same on every node, whatever
its defaults: CIDv1, raw leaves, chunks of 256 KiB; so the same content has the same CID.

Source: https://docs.ipfs.tech/reference/kubo/rpc/
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, cast

import requests
from urllib3.exceptions import HTTPError

from connectors.abc import JSON
from connectors.storage.address import IpfsAddress
from connectors.storage.objects import (
    STALE,
    Body,
    ObjectGone,
    ObjectStore,
    StorageRefused,
    StorageUnavailable,
    Stored,
    blocks,
    check_name,
    check_prefix,
    check_target,
    size_of,
)
from connectors.streams import SourceError

_IMPORT = {
    "pin": "true",
    "progress": "false",
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": "size-262144",
}
_TIMEOUT = (5.0, 120.0)
_BLOCK = 1024 * 1024
_DIRECTORY = 1
_ABSENT = ("file does not exist", "no link named", "no such file")
_NOT_PINNED = ("not pinned",)
_URI = "ipfs://"


class IpfsStore(ObjectStore):
    """A Kubo node, and a directory in its files."""

    def __init__(self, address: IpfsAddress, secrets: Mapping[str, str]) -> None:
        if set(secrets) not in (set[str](), {"token"}, {"user", "password"}):
            raise ValueError("IPFS takes a token, or user and password")
        self._address = address
        self._secrets = secrets
        self._session = requests.Session()
        # A proxy of the environment is not meant for it, nor is a .netrc file.
        self._session.trust_env = False

    def put(self, name: str, body: Body) -> Stored:
        path = self._path(name)
        size = size_of(body)
        cid = self._add(body, size)
        before = self._cid(path)
        if before != cid:
            if before is not None:
                self._remove(path, before)
            source = f"/ipfs/{cid}"
            self._call("files/cp", {"arg": [source, path], "parents": "true"})
        return Stored(name=name, uri=_URI + cid, size=size)

    def remove(self, name: str) -> None:
        path = self._path(name)
        cid = self._cid(path)
        if cid is not None:
            self._remove(path, cid)
        self._prune(path)

    def list(self, prefix: str = "") -> Iterator[str]:
        prefix = check_prefix(prefix)
        waiting = [prefix]
        while waiting:
            directory = waiting.pop()
            for entry in self._entries(f"/{self._address.directory}/{directory}".rstrip("/")):
                name = f"{directory}/{entry['Name']}" if directory else str(entry["Name"])
                if entry["Type"] == _DIRECTORY:
                    waiting.append(name)
                else:
                    with suppress(ValueError):
                        yield check_name(name)

    def open(self, name: str) -> BinaryIO:
        answer = self._send("files/read", {"arg": self._path(name)})
        return cast(BinaryIO, io.BufferedReader(_Download(answer)))

    def source(self, stored: Stored, target: str) -> Mapping[str, JSON]:
        check_target(stored.name, target)
        params = {"CID": stored.uri.removeprefix(_URI)}
        # The CID does not tell the name; an alias may be any text that no other input has.
        return {
            "Alias": check_name(stored.name),
            "Source": {"Type": "ipfs", "Params": params},
            "Target": target,
        }

    def name_of(self, source: Mapping[str, JSON]) -> str | None:
        match source:
            case {"Alias": str(name), "Source": {"Type": "ipfs"}}:
                with suppress(ValueError):
                    return check_name(name)
            case _:
                pass
        return None

    def sweep(self, prefix: str = "", older_than: float = STALE) -> None:
        """Nothing has to be done: content without an entry has no name to be found by, and gets
        its entry when it is written again."""

    def close(self) -> None:
        self._session.close()

    def _add(self, body: Body, size: int) -> str:
        content = _Multipart(body, size)
        headers = {"Content-Type": f"multipart/form-data; boundary={content.boundary}"}
        with self._send("add", _IMPORT, data=content, headers=headers) as answer:
            lines = self._text(answer).splitlines()
        try:
            cid = str(json.loads(lines[-1])["Hash"])
        except (IndexError, KeyError, TypeError, ValueError):
            # What fails after the answer has begun stands in a trailer that nobody passes on.
            message = f"{self._address.url} did not finish adding content"
            raise StorageUnavailable(message) from None
        return cid

    def _cid(self, path: str) -> str | None:
        try:
            return str(self._call("files/stat", {"arg": path})["Hash"])
        except ObjectGone:
            return None

    def _remove(self, path: str, cid: str) -> None:
        with suppress(ObjectGone):
            self._call("files/rm", {"arg": path})
        try:
            self._call("pin/rm", {"arg": cid})
        except _NotPinned:
            return

    def _prune(self, path: str) -> None:
        """Remove the object's own directory where it is empty."""
        directory = path.rpartition("/")[0]
        if directory != f"/{self._address.directory}" and not list(self._entries(directory)):
            with suppress(ObjectGone):
                self._call("files/rm", {"arg": directory, "recursive": "true"})

    def _entries(self, path: str) -> Iterator[Mapping[str, Any]]:
        with suppress(ObjectGone):
            yield from self._call("files/ls", {"arg": path, "long": "true"}).get("Entries") or ()

    def _path(self, name: str) -> str:
        return f"/{self._address.directory}/{check_name(name)}"

    def _call(self, command: str, params: Mapping[str, object]) -> Mapping[str, Any]:
        with self._send(command, params) as answer:
            text = self._text(answer)
        try:
            return dict(json.loads(text)) if text.strip() else {}
        except (TypeError, ValueError) as error:
            message = f"{self._address.url} does not answer {command} as Kubo does"
            raise StorageRefused(message) from error

    def _text(self, answer: requests.Response) -> str:
        try:
            return answer.text
        except requests.RequestException as error:
            raise StorageUnavailable(f"{self._address.url}: {error}") from error

    def _send(
        self,
        command: str,
        params: Mapping[str, object],
        *,
        data: _Multipart | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        url = f"{self._address.url}/api/v0/{command}"
        token = self._secrets.get("token")
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        user = self._secrets.get("user")
        auth = (user, self._secrets["password"]) if user is not None else None
        try:
            answer = self._session.post(
                url,
                params=cast(Any, params),
                data=cast(Any, data),
                headers={**bearer, **(headers or {})},
                auth=auth,
                stream=True,
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise StorageUnavailable(f"no answer from {self._address.url}: {error}") from error
        if answer.status_code == 200:
            return answer
        with answer:
            raise self._failure(command, answer)

    def _failure(self, command: str, answer: requests.Response) -> SourceError:
        text = self._text(answer)
        try:
            reason = str(json.loads(text)["Message"])
        except (KeyError, TypeError, ValueError):
            reason = text.strip()[:200]
        message = f"{self._address.url} {command}: {answer.status_code} {reason}"
        if answer.status_code == 500:
            if any(words in reason for words in _ABSENT):
                return ObjectGone(message)
            if any(words in reason for words in _NOT_PINNED):
                return _NotPinned(message)
            return StorageUnavailable(message)
        if answer.status_code > 500 or answer.status_code == 429:
            return StorageUnavailable(message)
        return StorageRefused(message)


class _NotPinned(StorageUnavailable):
    """Content that is not pinned was to be unpinned."""


class _Multipart:
    """A form with one file, of known length, that is never whole in memory."""

    def __init__(self, body: Body, size: int) -> None:
        self.boundary = uuid.uuid4().hex
        disposition = 'Content-Disposition: form-data; name="file"; filename="object"'
        kind = "Content-Type: application/octet-stream"
        self._head = f"--{self.boundary}\r\n{disposition}\r\n{kind}\r\n\r\n".encode()
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()
        self._body = body
        self._size = size

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from blocks(self._body, _BLOCK)
        yield self._tail


class _Download(io.RawIOBase):
    """Content that is being read."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__()
        self._answer = answer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            block = self._answer.raw.read(len(buffer), decode_content=True)
        except (OSError, HTTPError) as error:
            raise StorageUnavailable(f"reading broke off: {error}") from error
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._answer.close()
        super().close()
