"""Files of records: formats, compressions, spooling, halves."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path
from typing import get_args

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from connectors.storage import batchfile
from connectors.storage.batchfile import BatchFile, Compression, FinishedFile

COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)
_BLOCKS = st.lists(st.lists(st.binary(max_size=30), max_size=5), max_size=5)


def _content(file: FinishedFile, compression: Compression) -> bytes:
    with batchfile.reader(io.BytesIO(file.content()), compression) as stream:
        return stream.read()


@given(_BLOCKS, st.sampled_from(COMPRESSIONS))
def test_what_goes_in_comes_out(blocks: list[list[bytes]], compression: Compression) -> None:
    """Values with a newline each, in order; the counts are right."""
    file = BatchFile(compression=compression)
    for block in blocks:
        file.add_values(block)
    values = [value for block in blocks for value in block]
    assert (file.count, file.raw_size) == (len(values), sum(len(v) + 1 for v in values))
    finished = file.finish()
    content = b"".join(value + b"\n" for value in values)
    assert _content(finished, compression) == content
    assert finished.count == len(values)
    assert finished.lines == content.count(b"\n")
    assert finished.raw_size == len(content)
    assert finished.size == len(finished.content())
    assert finished.sha256() == hashlib.sha256(finished.content()).hexdigest()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_bytes_depend_on_the_records_alone(compression: Compression, tmp_path: Path) -> None:
    """The same records in other blocks, in memory or spooled, make the same file: what is written
    again after a crash is the same object."""
    values = [hashlib.sha512(b"%d" % number).hexdigest().encode() for number in range(30_000)]
    hashes: set[str] = set()
    for step, spool_above in ((1, 1 << 30), (7, 1 << 20), (1000, 1 << 30), (30_000, 0)):
        file = BatchFile(compression=compression, spool_dir=tmp_path, spool_above=spool_above)
        for start in range(0, len(values), step):
            file.add_values(values[start : start + step])
        finished = file.finish()
        assert isinstance(finished.body, list) == (spool_above == 1 << 30)
        hashes.add(finished.sha256())
        finished.discard()
        finished.discard()
    assert len(hashes) == 1
    assert not list(tmp_path.iterdir())


def test_gzip_holds_no_time() -> None:
    """Neither of the machine nor a name: the header is always the same."""
    file = BatchFile(compression="gzip")
    file.add_values([b"x"])
    content = file.finish().content()
    assert content[4:8] == bytes(4)
    assert gzip.decompress(content) == b"x\n"


def test_other_tools_read_zstd() -> None:
    """One frame, as the command-line tool writes it."""
    file = BatchFile(compression="zstd")
    file.add_lines(b"1\n2\n", 2)
    content = file.finish().content()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(content) == b"1\n2\n"


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Beyond its limit a file lies in the directory; `memory` tells what is held."""
    file = BatchFile(spool_dir=tmp_path / "spool", spool_above=3_000_000)
    most = 0
    for _ in range(40):
        file.add_values([b"x" * 99] * 1_000)
        most = max(most, file.memory)
    assert most <= 3_000_000 + 1_100_000
    finished = file.finish()
    assert finished.size == len(finished.content()) == 4_000_000
    assert finished.content() == (b"x" * 99 + b"\n") * 40_000
    assert max(map(len, finished.body)) <= 1 << 20
    assert finished.body[-1] == finished.body[len(finished.body) - 1]
    assert b"".join(finished.body[1:]) == finished.content()[len(finished.body[0]) :]
    with pytest.raises(IndexError):
        finished.body[len(finished.body)]
    # No name: nothing is left when the process is killed.
    assert list((tmp_path / "spool").iterdir()) == []
    finished.discard()


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    """Spooled or not, once or twice."""
    for spool_above in (0, 1 << 30):
        file = BatchFile(spool_dir=tmp_path, spool_above=spool_above)
        file.add_values([b"x" * 2_000_000])
        file.discard()
        file.discard()
        assert file.memory == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("count", [2, 3, 1_001])
def test_halves(compression: Compression, count: int) -> None:
    """Two files that together are the first one; the boundary is the second's first line."""
    values = [b"%d" % number for number in range(count)]
    whole = BatchFile(compression=compression)
    whole.add_values(values)
    stream = io.BytesIO(whole.finish().content())
    halves = batchfile.split(stream, count=count, compression=compression)
    first, second = (_content(f, compression).split() for f in (halves.first, halves.second))
    assert first == values[: count // 2]
    assert second == values[count // 2 :]
    assert halves.boundary == second[0]
    assert (halves.first.count, halves.second.count) == (len(first), len(second))
    assert stream.closed


@pytest.mark.parametrize(
    ("content", "count", "says"),
    [
        (b"1\n", 1, "no halves"),
        (b"1\n2\n3\n", 2, "has 3 lines, not 2"),
        (b"1\n", 2, "has 1 lines, not 2"),
        (b"1\n2345678\n", 2, "line 2 is longer than 5 bytes"),
    ],
)
def test_files_that_have_no_halves(content: bytes, count: int, says: str) -> None:
    """One record, values that hold newlines, lines beyond the limit."""
    with pytest.raises(ValueError, match=says):
        batchfile.split(io.BytesIO(content), count=count, max_line=5)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("harm", ["other", "broken", "short"])
def test_damaged_files(compression: Compression, harm: str) -> None:
    """What is no such file, was changed, or ends too soon, is an error and never fewer records."""
    whole = BatchFile(compression=compression)
    whole.add_values([hashlib.sha512(b"%d" % n).hexdigest().encode() for n in range(1000)])
    content = whole.finish().content()
    middle = len(content) // 2
    content = {
        "other": b"1\n2\n",
        "broken": content[:4] + bytes(20) + content[24:],
        "short": content[:middle],
    }[harm]
    with pytest.raises(ValueError, match=r"is damaged|lines are not records"):
        batchfile.split(io.BytesIO(content), count=1000, compression=compression)


def test_names() -> None:
    """The name tells the compression."""
    names = [batchfile.file_name(compression) for compression in COMPRESSIONS]
    assert names == ["batch.ndjson", "batch.ndjson.gz", "batch.ndjson.zst"]
