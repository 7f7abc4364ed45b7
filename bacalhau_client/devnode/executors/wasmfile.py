"""Reads from a WASM binary what error messages need: its name, its functions' names and types.

Format: https://webassembly.github.io/spec/core/binary/modules.html, with the custom section
`name` of the appendix.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
_CUSTOM, _TYPE, _IMPORT, _FUNCTION = 0, 1, 2, 3
_MODULE_NAME, _FUNCTION_NAMES = 0, 1


class BadModule(ValueError):
    """Not a WASM module."""


@dataclass(kw_only=True)
class ModuleNames:
    """`signatures` are printed as in a stack trace: `(i32,i32) i32`."""

    has_name_section: bool = False
    module: str = ""
    functions: dict[int, str] = field(default_factory=dict[int, str])
    signatures: dict[int, str] = field(default_factory=dict[int, str])

    def frame(self, index: int) -> str:
        """One line of a stack trace."""
        name = self.functions.get(index) or f"${index}"
        return f"{self.module}.{name}{self.signatures.get(index, '()')}"


class _Reader:
    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.at, self.end = data, start, end

    def byte(self) -> int:
        if self.at >= self.end:
            raise BadModule("the module ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return result
            shift += 7
            if shift > 63:
                raise BadModule("a number is too long")

    def take(self, length: int) -> _Reader:
        part = _Reader(self.data, self.at, self.at + length)
        if part.end > self.end:
            raise BadModule("a section is longer than the module")
        self.at = part.end
        return part

    def text(self) -> str:
        part = self.take(self.number())
        return self.data[part.at : part.end].decode("utf-8", "replace")

    @property
    def more(self) -> bool:
        return self.at < self.end


def read_names(module: bytes) -> ModuleNames:
    """Raises BadModule for what is no WASM binary."""
    if module[:8] != b"\0asm\x01\0\0\0":
        raise BadModule("invalid magic number")
    names = ModuleNames()
    types: list[str] = []
    indices: list[int] = []
    reader = _Reader(module, 8, len(module))
    while reader.more:
        kind = reader.byte()
        section = reader.take(reader.number())
        if kind == _TYPE:
            types = _signatures(section)
        elif kind == _IMPORT:
            indices += _imported_functions(section)
        elif kind == _FUNCTION:
            indices += [section.number() for _ in range(section.number())]
        elif kind == _CUSTOM and section.text() == "name":
            names.has_name_section = True
            _read_name_section(section, names)
    names.signatures = {
        index: types[kind] for index, kind in enumerate(indices) if kind < len(types)
    }
    return names


def _signatures(section: _Reader) -> list[str]:
    found: list[str] = []
    for _ in range(section.number()):
        if section.byte() != 0x60:
            return found  # a type of a later proposal: the rest cannot be told apart
        parameters = [_TYPES.get(section.byte(), "?") for _ in range(section.number())]
        results = [_TYPES.get(section.byte(), "?") for _ in range(section.number())]
        shown = f" {results[0]}" if len(results) == 1 else ""
        if len(results) > 1:
            shown = f" ({','.join(results)})"
        found.append(f"({','.join(parameters)}){shown}")
    return found


def _imported_functions(section: _Reader) -> list[int]:
    indices: list[int] = []
    for _ in range(section.number()):
        section.text()
        section.text()
        kind = section.byte()
        if kind == 0:
            indices.append(section.number())
            continue
        if kind in (1, 3):  # a table's or a global's value type
            section.byte()
        if kind == 3:
            section.byte()
        elif kind in (1, 2):
            flags = section.byte()
            section.number()
            if flags & 1:
                section.number()
        elif kind == 4:
            section.byte()
            section.number()
    return indices


def _read_name_section(section: _Reader, names: ModuleNames) -> None:
    while section.more:
        kind = section.byte()
        part = section.take(section.number())
        if kind == _MODULE_NAME:
            names.module = part.text()
        elif kind == _FUNCTION_NAMES:
            for _ in range(part.number()):
                index = part.number()
                names.functions[index] = part.text()
