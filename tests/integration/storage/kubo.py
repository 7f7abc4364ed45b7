"""A server that answers as Kubo's RPC API does, as far as a store of objects asks.

Written from https://docs.ipfs.tech/reference/kubo/rpc/: POST only, arguments in the query, 500 with
``{"Message": …, "Code": 0, "Type": "error"}`` for what a command cannot do.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Tree = dict[str, Any]
"""Names to subtrees, or to CIDs."""


class CommandError(Exception):
    """What a command says with 500."""


class Kubo:
    """The node: blocks, pins, files. One request at a time, as far as they change something."""

    def __init__(self) -> None:
        self.blocks: dict[str, bytes] = {}
        self.pins: set[str] = set()
        self.files: Tree = {}
        self.authorization: str | None = None
        """The header that is asked for."""
        self.cut: str | None = None
        """A command that is carried out, and then the connection is lost."""
        self.lock = threading.Lock()

    def collect(self) -> None:
        """Garbage collection: what is neither pinned nor in the files is gone."""
        kept = self.pins | set(_leaves(self.files))
        self.blocks = {cid: block for cid, block in self.blocks.items() if cid in kept}

    def command(self, name: str, query: dict[str, list[str]], content: bytes) -> Any:
        """The answer of a command; raises CommandError or KeyError (unknown command)."""
        arguments = query.get("arg", [])
        handler = {
            "add": lambda: self._add(query, content),
            "files/stat": lambda: self._stat(*arguments),
            "files/cp": lambda: self._cp(*arguments, parents=_flag(query, "parents")),
            "files/ls": lambda: self._ls(*arguments),
            "files/rm": lambda: self._rm(*arguments, recursive=_flag(query, "recursive")),
            "files/read": lambda: self.blocks[self._file(*arguments)],
            "pin/rm": lambda: self._unpin(*arguments),
        }[name]
        with self.lock:
            return handler()

    def _add(self, query: dict[str, list[str]], content: bytes) -> Any:
        assert query["cid-version"] == ["1"]
        digest = hashlib.sha256(content).digest()
        # Small content is one raw block; a larger one would have the CID of a tree of such blocks.
        codec = b"\x55" if len(content) <= 262_144 else b"\x70"
        encoded = base64.b32encode(b"\x01" + codec + b"\x12\x20" + digest).decode()
        cid = "b" + encoded.lower().rstrip("=")
        self.blocks[cid] = content
        if query.get("pin", ["true"]) == ["true"]:
            self.pins.add(cid)
        return {"Name": "object", "Hash": cid, "Size": str(len(content) + 8)}

    def _stat(self, path: str) -> Any:
        found = self._find(path)
        if isinstance(found, dict):
            return {"Hash": "QmDirectory", "Size": 0, "CumulativeSize": 4, "Type": "directory"}
        return {"Hash": found, "Size": len(self.blocks[found]), "Type": "file"}

    def _cp(self, source: str, target: str, *, parents: bool) -> None:
        cid = source.removeprefix("/ipfs/")
        if cid not in self.blocks:
            raise CommandError(f"cp: cannot get node from path {source}: not found")
        *directories, name = _parts(target)
        tree = self.files
        for directory in directories:
            if directory not in tree and not parents:
                raise CommandError("file does not exist")
            tree = tree.setdefault(directory, {})
        if name in tree:
            raise CommandError(
                "cp: cannot put node in path: directory already has entry by that name"
            )
        tree[name] = cid

    def _ls(self, path: str) -> Any:
        found = self._find(path)
        if not isinstance(found, dict):
            raise CommandError("not a directory")
        entries = [
            {"Name": name, "Type": 1, "Size": 0, "Hash": "QmDirectory"}
            if isinstance(entry, dict)
            else {"Name": name, "Type": 0, "Size": len(self.blocks[entry]), "Hash": entry}
            for name, entry in found.items()
        ]
        return {"Entries": entries or None}

    def _rm(self, path: str, *, recursive: bool) -> None:
        if isinstance(self._find(path), dict) and not recursive:
            raise CommandError(f"{path} is a directory, use -r to remove directories")
        *directories, name = _parts(path)
        tree = self.files
        for directory in directories:
            tree = tree[directory]
        del tree[name]

    def _unpin(self, cid: str) -> Any:
        if cid not in self.pins:
            raise CommandError("not pinned or pinned indirectly")
        self.pins.discard(cid)
        return {"Pins": [cid]}

    def _file(self, path: str) -> str:
        found = self._find(path)
        if isinstance(found, dict):
            raise CommandError(f"{path} was not a file")
        return found

    def _find(self, path: str) -> Any:
        found: Any = self.files
        for name in _parts(path):
            if not isinstance(found, dict) or name not in found:
                raise CommandError("file does not exist")
            found = found[name]
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kubo: Kubo

    def do_GET(self) -> None:
        self._answer(405, b"405 - Method Not Allowed\n")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kubo = self.kubo
        if kubo.authorization and self.headers.get("Authorization") != kubo.authorization:
            return self._answer(403, b"Kubo RPC Access Denied\n")
        url = urllib.parse.urlsplit(self.path)
        command = url.path.removeprefix("/api/v0/")
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        kind = self.headers.get("Content-Type", "")
        try:
            answer = kubo.command(command, query, _form_file(kind, content))
        except KeyError:
            return self._answer(404, b"404 page not found\n")
        except CommandError as error:
            failure = {"Message": str(error), "Code": 0, "Type": "error"}
            return self._answer(500, json.dumps(failure).encode())
        if kubo.cut == command:
            kubo.cut = None
            self.close_connection = True
            return None
        if isinstance(answer, bytes):
            return self._answer(200, answer)
        return self._answer(200, b"" if answer is None else json.dumps(answer).encode() + b"\n")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(kubo: Kubo) -> Iterator[str]:
    """The node behind ``host:port``."""
    handler = type("Handler", (_Handler,), {"kubo": kubo})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _form_file(kind: str, content: bytes) -> bytes:
    """The content of the one file of a form; nothing for a request without a form."""
    found = re.fullmatch(r"multipart/form-data; boundary=(\w+)", kind)
    if found is None:
        return b""
    boundary = found[1].encode()
    head, _, rest = content.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary + b"\r\n")
    assert b'name="file"' in head
    end = b"\r\n--" + boundary + b"--\r\n"
    assert rest.endswith(end)
    return rest[: -len(end)]


def _parts(path: str) -> list[str]:
    assert path.startswith("/")
    return [part for part in path.split("/") if part]


def _flag(query: dict[str, list[str]], name: str) -> bool:
    return query.get(name) == ["true"]


def _leaves(tree: Tree) -> Iterator[str]:
    for entry in tree.values():
        if isinstance(entry, dict):
            yield from _leaves(entry)
        else:
            yield entry
