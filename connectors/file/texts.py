"""Texts of lines: where the last one begins, and what is made of bytes that are no text."""

from __future__ import annotations

from collections.abc import Sequence

REPLACED = "\N{REPLACEMENT CHARACTER}"
_REPLACED_BYTES = REPLACED.encode()
_MARK = b"\xef\xbb\xbf"


def first_line(data: bytes, encoding: str) -> int:
    """Where the last line of data begins: behind its last newline, 0 where it has none. Data
    begins at a character."""
    newline = "\n".encode(encoding)
    found = data.rfind(newline)
    while found >= 0 and found % len(newline):
        found = data.rfind(newline, 0, found + len(newline) - 1)
    return found + len(newline) if found >= 0 else 0


def bare(texts: Sequence[bytes], first: bool) -> Sequence[bytes]:
    """Lines without what is no text of them: the mark at the beginning of a file, and carriage
    returns before newlines."""
    if first:
        texts = [texts[0].removeprefix(_MARK), *texts[1:]]
    if b"\r" in b"\n".join(texts):
        texts = [text.removesuffix(b"\r") for text in texts]
    return texts


def repaired(lines: Sequence[bytes]) -> tuple[list[bytes], int]:
    """Lines in UTF-8, and at how many places that took a replacement."""
    texts: list[bytes] = []
    replaced = 0
    for line in lines:
        try:
            line.decode()
            texts.append(line)
        except UnicodeDecodeError:
            text = line.decode(errors="replace").encode()
            replaced += text.count(_REPLACED_BYTES) - line.count(_REPLACED_BYTES)
            texts.append(text)
    return texts, replaced
