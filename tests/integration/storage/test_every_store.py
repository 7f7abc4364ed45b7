"""What every store promises."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from connectors.storage.objects import ObjectGone, ObjectStore, part

NAME = "u-3f9a/logs/7/100-200/batch.ndjson"


def _read(store: ObjectStore, name: str) -> bytes:
    with store.open(name) as stream:
        return stream.read()


def test_objects_come_back(store: ObjectStore, tmp_path: Path) -> None:
    """From chunks and from a file, also empty, also bytes of every kind."""
    file = tmp_path / "body"
    file.write_bytes(bytes(range(256)) * 4096)
    bodies = {"chunks": [b"1\n", b"", b"2\n"], "empty": [], "file": file}
    for name, body in bodies.items():
        stored = store.put(f"{name}/batch.ndjson", body)
        content = body.read_bytes() if isinstance(body, Path) else b"".join(body)
        assert (stored.name, stored.size) == (f"{name}/batch.ndjson", len(content))
        assert _read(store, stored.name) == content
    with store.open("file/batch.ndjson") as stream:
        assert stream.read(300) + stream.read() == file.read_bytes()


def test_the_same_again_is_the_same(store: ObjectStore) -> None:
    """Written again after a crash: one object, the same address."""
    first = store.put(NAME, [b"1\n", b"2\n"])
    assert store.put(NAME, [b"1\n2\n"]) == first
    assert list(store.list()) == [NAME]


def test_other_bytes_replace(store: ObjectStore) -> None:
    """The last writer's bytes are there, whole."""
    store.put(NAME, [b"long " * 100])
    store.put(NAME, [b"short"])
    assert _read(store, NAME) == b"short"
    assert list(store.list()) == [NAME]


def test_removing(store: ObjectStore) -> None:
    """Once and again; what was never there is no error, nor is a neighbour touched."""
    store.put(NAME, [b"x"])
    store.put("u-3f9a/logs/7/200-300/batch.ndjson", [b"x"])
    for _ in range(2):
        store.remove(NAME)
    assert list(store.list()) == ["u-3f9a/logs/7/200-300/batch.ndjson"]
    with pytest.raises(ObjectGone):
        _read(store, NAME)
    store.put(NAME, [b"y"])
    assert _read(store, NAME) == b"y"


def test_what_is_not_there(store: ObjectStore) -> None:
    """Nothing stored yet: reading says so, listing is empty, removing and sweeping do nothing."""
    with pytest.raises(ObjectGone):
        store.open(NAME).read()
    assert list(store.list()) == []
    assert list(store.list("u-3f9a")) == []
    store.remove(NAME)
    store.sweep()


def test_listing(store: ObjectStore) -> None:
    """All objects below a prefix of whole parts, however many."""
    names = {f"a/{number}/batch.ndjson" for number in range(7)} | {"a-b/1/x", "b/1/batch.ndjson"}
    for name in names:
        store.put(name, [name.encode()])
    assert set(store.list()) == names
    assert set(store.list("a")) == {name for name in names if name.startswith("a/")}
    assert list(store.list("a/3")) == ["a/3/batch.ndjson"]
    assert len(list(store.list())) == len(names)


@pytest.mark.parametrize("topic", ["..", "a/../../b", "ü*", ".", "x" * 249, "%2E", "${{ x }}", ""])
def test_hostile_topics(store: ObjectStore, topic: str) -> None:
    """Whatever a topic is called, its objects are objects like any other."""
    name = f"u/{part(topic)}/0/1-2/batch.ndjson"
    stored = store.put(name, [b"x"])
    assert list(store.list("u")) == [name]
    assert _read(store, name) == b"x"
    source = store.source(stored, "/orch/batch.ndjson")
    assert store.name_of(source) == name
    store.forget([source])
    assert list(store.list()) == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", ".hidden/x", "a/*", ""])
def test_names_are_checked(store: ObjectStore, name: str) -> None:
    """No operation takes a name that could mean something else."""
    for operation in (lambda: store.put(name, []), lambda: store.remove(name)):
        with pytest.raises(ValueError, match="object's name"):
            operation()
    with pytest.raises(ValueError, match="object's name"):
        store.open(name)


def test_forgetting_knows_its_own(store: ObjectStore) -> None:
    """Input sources of others are passed over, whatever they look like."""
    stored = store.put(NAME, [b"x"])
    mine = store.source(stored, "/orch/batch.ndjson")
    store.forget(
        [
            {},
            {"Source": "s3"},
            {"Source": {"Type": "inline", "Params": {"URL": "data:,x"}}, "Target": "/x"},
            {"Source": {"Type": "s3", "Params": {"Bucket": "other", "Key": NAME}}},
            {"Source": {"Type": "s3", "Params": {"Bucket": 1, "Key": 2}}},
            {"Source": {"Type": "localDirectory", "Params": {"SourcePath": "/etc/passwd"}}},
            {"Source": {"Type": "localDirectory", "Params": {"SourcePath": f"/etc/../{NAME}"}}},
            {"Alias": "../../x", "Source": {"Type": "ipfs", "Params": {"CID": "x"}}},
        ]
    )
    assert list(store.list()) == [NAME]
    store.forget([mine, mine])
    assert list(store.list()) == []


def test_a_target_the_task_would_not_find(store: ObjectStore) -> None:
    """A node names the file by the object; another name is refused where it is made."""
    stored = store.put(NAME, [b"x"])
    with pytest.raises(ValueError, match="no path that ends in"):
        store.source(stored, "/orch/other.ndjson")


def test_threads_share_a_store(store: ObjectStore) -> None:
    """Writers and removers side by side, in directories that come and go."""
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(10):
                name = f"u/{number % 2}/{worker}/batch.ndjson"
                store.put(name, [b"%d" % number])
                assert _read(store, name) == b"%d" % number
                store.remove(name)
            store.put(f"u/kept/{worker}/batch.ndjson", [b"x"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(store.list()) == [f"u/kept/{worker}/batch.ndjson" for worker in range(4)]


def test_closing_twice(store: ObjectStore) -> None:
    """Closing is idempotent."""
    store.put(NAME, [b"x"])
    store.close()
    store.close()
