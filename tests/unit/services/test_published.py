"""What a published result says of events that failed: archives as a node packs them, and others."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Mapping

import pytest

from bacalhau_client import SpecConfig
from connectors.outbound import Answer, NoAnswer
from orchestrator.domain.partial import BadList
from orchestrator.services import published
from orchestrator.services.published import FILE, NotThere, failed_in

SIGNED = SpecConfig(
    type="s3PreSigned", params={"PreSignedURL": "http://s3.test/o?X-Amz-Signature=s"}
)
LOCAL = SpecConfig(type="urlDownload", params={"URL": "http://node.test:6001/e-1.tar.gz"})
GOOD = json.dumps({"orch.failed": [[0, 3], [7, 8]]}).encode()


def packed(files: Mapping[str, bytes], *, level: int = 1) -> bytes:
    """An archive of these files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), level)


def read(content: bytes, *, whole: bool = True, status: int = 200) -> list[tuple[int, int]]:
    """What one result with this content says."""
    return failed_in([SIGNED], 1, lambda _: Answer(status=status, content=content, whole=whole))


def test_the_list_is_found_wherever_it_lies() -> None:
    """Behind output and other results, with or without ./ before its name."""
    others = {"stdout": b"out", "exitCode": b"0", "data/failed.json": b"{}", "orch/more": b"x"}
    assert read(packed({**others, FILE: GOOD})) == [(0, 3), (7, 8)]
    assert read(packed({f"./{FILE}": GOOD, **others})) == [(0, 3), (7, 8)]


def test_without_a_list_nothing_has_failed() -> None:
    """A task need not write one."""
    assert read(packed({"stdout": b"out", "orch/other.json": GOOD})) == []


def test_all_executions_speak() -> None:
    """Those of a job with a count; each has its result, whoever published it."""
    content = {
        SIGNED.params["PreSignedURL"]: GOOD,
        LOCAL.params["URL"]: b'{"orch.failed": [[4, 5]]}',
    }
    results = [SIGNED, LOCAL]

    def fetch(url: str) -> Answer:
        return Answer(status=200, content=packed({FILE: content[url]}), whole=True)

    assert failed_in(results, 2, fetch) == [(0, 3), (7, 8), (4, 5)]
    with pytest.raises(NotThere, match="1 of 2"):
        failed_in(results[:1], 2, fetch)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>", "no tar.gz"),
        (gzip.compress(b"x" * 2000), "no tar.gz"),
        (packed({FILE: GOOD})[:-20], "no tar.gz"),
        (packed({FILE: GOOD[:20]}), "no JSON"),
        (packed({FILE: b"{}"}), "no object"),
        (packed({FILE: b" " * (2 << 20)}), "no file of at most"),
    ],
    ids=["a page", "no archive", "cut off", "half a list", "no list", "too large"],
)
def test_what_cannot_be_relied_on_is_an_error(content: bytes, why: str) -> None:
    """Broken archives and lists are never taken for "nothing has failed"."""
    with pytest.raises(BadList, match=why):
        read(content)


def test_a_link_is_no_list() -> None:
    """Whatever it points to."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        link = tarfile.TarInfo(FILE)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(BadList, match="no file"):
        read(raw.getvalue())


def test_of_a_large_result_only_the_beginning_is_read() -> None:
    """A list within it counts; one that may be behind it fails the attempt."""
    noise = random.Random(1).randbytes(3 << 20)
    behind = packed({"data/x": noise, FILE: GOOD})
    before = packed({FILE: GOOD, "data/x": noise})
    assert read(before[: 1 << 20], whole=False) == [(0, 3), (7, 8)]
    with pytest.raises(BadList, match="not within the first"):
        read(behind[: 1 << 20], whole=False)


def test_what_unpacks_to_too_much_is_not_unpacked() -> None:
    """However small it came."""
    with pytest.raises(BadList, match="not within the first"):
        read(packed({"data/zeros": bytes(80 << 20), FILE: GOOD}))


@pytest.mark.parametrize(
    "result",
    [
        SpecConfig(type="ipfs", params={"CID": "bafy"}),
        SpecConfig(type="s3", params={"Bucket": "b", "Key": "k"}),
        SpecConfig(type="urlDownload", params={"URL": "file:///etc/passwd"}),
        SpecConfig(type="", params={}),
    ],
)
def test_where_orch_cannot_read_is_said(result: SpecConfig) -> None:
    """An attempt that fails, with the remedy: nobody can tell what has failed."""
    with pytest.raises(BadList, match="first line of output"):
        failed_in([result], 1)


def test_no_answer_is_not_the_end_and_names_no_address() -> None:
    """It is asked for again; the address is a credential."""

    def silent(_: str) -> Answer:
        raise NoAnswer("no answer within 30 s")

    with pytest.raises(NotThere) as caught:
        failed_in([SIGNED], 1, silent)
    assert "Signature" not in str(caught.value)
    with pytest.raises(NotThere, match="503"):
        read(b"", status=503)


def test_limits_are_what_the_contract_says() -> None:
    """As docs/task-contract.md has them."""
    assert (published._MAX_PACKED, published._MAX_UNPACKED) == (8 << 20, 64 << 20)
