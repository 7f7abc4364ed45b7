"""IPFS: added, pinned, found by name; what the node's answers mean."""

from __future__ import annotations

import base64
import http.server
import threading
from typing import Any

import pytest

from connectors.storage.address import parse
from connectors.storage.objects import (
    ObjectGone,
    ObjectStore,
    StorageRefused,
    StorageUnavailable,
)
from connectors.storage.stores import open_store
from tests.integration.storage.kubo import Kubo, serve

NAME = "u/logs/7/100-200/batch.ndjson"
OTHER = "u/logs/7/200-300/batch.ndjson"


def test_added_pinned_and_named(ipfs_store: ObjectStore, kubo: Kubo) -> None:
    """The CID is that of the bytes, also in the input source; the name is the alias."""
    stored = ipfs_store.put(NAME, [b"hello ", b"world\n"])
    # What `ipfs add --cid-version=1` says for these bytes.
    cid = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
    assert stored.uri == f"ipfs://{cid}"
    assert kubo.pins == {cid}
    assert ipfs_store.source(stored, "/orch/batch.ndjson") == {
        "Alias": NAME,
        "Source": {"Type": "ipfs", "Params": {"CID": cid}},
        "Target": "/orch/batch.ndjson",
    }
    kubo.collect()
    with ipfs_store.open(NAME) as stream:
        assert stream.read() == b"hello world\n"


def test_removed_content_can_be_collected(ipfs_store: ObjectStore, kubo: Kubo) -> None:
    """Neither a pin nor an entry nor an empty directory of its own stays."""
    ipfs_store.put(NAME, [b"x"])
    ipfs_store.remove(NAME)
    kubo.collect()
    assert (kubo.blocks, kubo.pins) == ({}, set())
    assert kubo.files == {"some": {"place": {"u": {"logs": {"7": {}}}}}}


def test_two_names_for_the_same_content(ipfs_store: ObjectStore, kubo: Kubo) -> None:
    """One of them removed, the other is still there after a collection."""
    first, second = ipfs_store.put(NAME, [b"x"]), ipfs_store.put(OTHER, [b"x"])
    assert first.uri == second.uri
    ipfs_store.remove(NAME)
    kubo.collect()
    with ipfs_store.open(OTHER) as stream:
        assert stream.read() == b"x"
    ipfs_store.remove(OTHER)
    kubo.collect()
    assert kubo.blocks == {}


def test_replaced_content_can_be_collected(ipfs_store: ObjectStore, kubo: Kubo) -> None:
    """Other bytes under the name: the old ones are unpinned."""
    ipfs_store.put(NAME, [b"old"])
    ipfs_store.put(NAME, [b"new"])
    kubo.collect()
    assert list(kubo.blocks.values()) == [b"new"]


@pytest.mark.parametrize("command", ["add", "files/cp", "files/rm", "pin/rm"])
def test_a_lost_answer(ipfs_store: ObjectStore, kubo: Kubo, command: str) -> None:
    """The node has done it and nobody knows: the operation fails and is repeated, with nothing
    left over."""
    kubo.cut = command
    if command in ("add", "files/cp"):
        with pytest.raises(StorageUnavailable):
            ipfs_store.put(NAME, [b"x"])
        ipfs_store.put(NAME, [b"x"])
        assert list(ipfs_store.list()) == [NAME]
    else:
        ipfs_store.put(NAME, [b"x"])
        with pytest.raises(StorageUnavailable):
            ipfs_store.remove(NAME)
        ipfs_store.remove(NAME)
        assert list(ipfs_store.list()) == []
        if command == "pin/rm":
            assert kubo.pins == set()


@pytest.mark.parametrize(
    ("secrets", "header"),
    [
        ({"token": "hunter2"}, "Bearer hunter2"),
        (
            {"user": "me", "password": "hunter2"},
            f"Basic {base64.b64encode(b'me:hunter2').decode()}",
        ),
    ],
)
def test_authorization(kubo: Kubo, secrets: dict[str, str], header: str) -> None:
    """What Kubo's `API.Authorizations` asks for; without it: refused."""
    kubo.authorization = header
    with serve(kubo) as place:
        with open_store(parse(f"ipfs+http://{place}"), secrets) as store:
            store.put(NAME, [b"x"])
            assert list(store.list()) == [NAME]
        with (
            open_store(parse(f"ipfs://{place}")) as store,
            pytest.raises(StorageRefused, match="403 Kubo RPC Access Denied"),
        ):
            store.put(NAME, [b"x"])
    assert set(kubo.files) == {"orch"}


def test_nobody_answers() -> None:
    """A closed port: tried again later."""
    with (
        open_store(parse("ipfs://127.0.0.1:1")) as store,
        pytest.raises(StorageUnavailable, match=r"no answer from http://127\.0\.0\.1:1"),
    ):
        store.put(NAME, [b"x"])


class _Page(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_something_else_answers() -> None:
    """A server that is no Kubo node: refused, not taken for an empty store."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        address = parse(f"ipfs://127.0.0.1:{server.server_port}")
        with open_store(address) as store:
            with pytest.raises(StorageRefused, match="does not answer files/ls as Kubo does"):
                list(store.list())
            with pytest.raises(StorageUnavailable, match="did not finish adding"):
                store.put(NAME, [b"x"])
        server.shutdown()
        thread.join()


def test_a_directory_in_the_way(ipfs_store: ObjectStore) -> None:
    """Reading what is no file is an error, but not that it is gone."""
    ipfs_store.put(NAME, [b"x"])
    with pytest.raises(StorageUnavailable, match="was not a file") as caught:
        ipfs_store.open("u/logs")
    assert not isinstance(caught.value, ObjectGone)


def test_secrets_that_do_not_fit() -> None:
    """A password without a user is a mistake of the caller."""
    with pytest.raises(ValueError, match="IPFS takes a token"):
        open_store(parse("ipfs://k:5001"), {"password": "x"})
