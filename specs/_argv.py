"""Finds data from outside that would be read as program text: a shell's `-c` string and the like.

It looks at the whole command line, entry point and parameters together, because the pieces of
`sh -c '…'` may stand in either. What follows a `-c` string is `$0`, `$1`, … to the shell: data is
safe there, and that is the remedy.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from specs._expressions import Expression, Parts

_HOLE = "\0"

Outside = Callable[[Expression], bool]


@dataclass(frozen=True, kw_only=True)
class _Family:
    """How a group of interpreters takes its program.

    `short` and `long` are the options whose argument is program text, `valued` and `valued_long`
    those with another argument that is not plain data, `free` those with plain data, `module`
    those after whose argument nothing more is read. `joined`: everything on the command line is
    program text; `program_first`: so is the first plain argument; `ends`: after the program text
    come plain arguments; `operands_first`: plain arguments may come before it; `only_first`: the
    name is a common word elsewhere on a command line.
    """

    short: str = ""
    long: tuple[str, ...] = ()
    valued: str = ""
    valued_long: tuple[str, ...] = ()
    free: str = ""
    module: str = ""
    joined: bool = False
    program_first: bool = False
    ends: bool = True
    operands_first: bool = False
    only_first: bool = False


_SHELL = _Family(
    short="c",
    long=("--command",),
    valued="oO",
    valued_long=("--rcfile", "--init-file"),
)
_PYTHON = _Family(short="c", module="m", valued="WX", valued_long=("--check-hash-based-pycs",))
_SCRIPT = _Family(
    short="eEpr",
    long=("--eval", "--print", "--execute", "--run", "-eval"),
    valued="IC",
    valued_long=("--require", "--import", "--loader"),
    ends=False,
)
_AWK = _Family(short="e", long=("--source",), valued="f", free="vF", program_first=True, ends=False)
_SED = _Family(short="e", long=("--expression",), valued="fl", program_first=True, ends=False)
_SWITCH_USER = _Family(
    short="c", long=("--command", "--session-command"), operands_first=True, ends=False
)
_JOINED = _Family(joined=True)
_JOINED_FIRST = _Family(joined=True, only_first=True)

_FAMILIES: dict[str, _Family] = {
    name: family
    for names, family in (
        ("sh bash rbash dash ash hush zsh rzsh ksh mksh lksh pdksh oksh yash posh sash", _SHELL),
        ("csh tcsh fish static-sh xonsh nu elvish osh ysh expect", _SHELL),
        ("python pythonw pypy ipython micropython jython graalpy", _PYTHON),
        ("perl ruby jruby node nodejs bun php php-cli lua luajit rscript julia", _SCRIPT),
        ("elixir groovy scala osascript guile racket erl ghc crystal", _SCRIPT),
        ("awk gawk mawk nawk goawk", _AWK),
        ("sed gsed ssed", _SED),
        ("su runuser script flock", _SWITCH_USER),
        (
            "cmd powershell pwsh ssh rsh dbclient slogin",
            _JOINED,
        ),
        ("watch parallel", _JOINED_FIRST),
    )
    for name in names.split()
}
_EMBEDDED = re.compile(
    r"(?:^|[\s/\\\"';&|(=])(?:(?:ba|da|a|z|k|mk|ya|c|tc|fi)?sh|python[0-9.]*|perl|ruby|node|php|cmd"
    r"|p(?:ower|w)sh(?:ell)?)(?:\.exe)?(?:\s+[-+/]\S*)*?\s+[-/](?=\w*[ceEr])\w+\s"
)


@dataclass(frozen=True)
class _Argument:
    index: int
    text: str
    dirty: bool


def program_text_from_outside(
    argv: Sequence[Parts], *, entry_known: bool, outside: Outside
) -> dict[int, str]:
    """Return the arguments that hold data in a place where a program reads program text.

    Keys are indexes into `argv`, values the interpreter's name. `entry_known` is False where the
    image's own entry point, whatever it is, comes first.
    """
    arguments = list(_arguments(argv, outside))
    if not any(argument.dirty for argument in arguments):
        return {}
    found: dict[int, str] = {}
    for argument in arguments:
        embedded = _EMBEDDED.search(argument.text) if argument.dirty else None
        if embedded and argument.text.rfind(_HOLE) >= embedded.end():
            found[argument.index] = "a shell"
    if not entry_known:
        _scan(_SHELL, "the image's entry point", arguments, strict=False, found=found)
    for position, argument in enumerate(arguments):
        if argument.dirty and _HOLE in _program(argument.text):
            if position == 0 and entry_known:
                found[argument.index] = "the node as the program itself"
            continue
        name = _program(argument.text)
        family = _FAMILIES.get(name)
        if name == "eval" and position and _program(arguments[position - 1].text) == "deno":
            family = _JOINED
        if family is not None and not (family.only_first and position):
            strict = position == 0 or family.program_first
            _scan(family, name, arguments[position + 1 :], strict=strict, found=found)
    return found


def _arguments(argv: Sequence[Parts], outside: Outside) -> Iterator[_Argument]:
    splits = False
    for index, parts in enumerate(argv):
        text = "".join(part if isinstance(part, str) else _HOLE for part in parts)
        dirty = any(isinstance(part, Expression) and outside(part) for part in parts)
        if splits or text.startswith(("-S", "--split-string")):
            # env -S cuts one argument into several.
            for word in _words(re.sub(r"^(-S|--split-string=?)\s*", "", text)) or [text]:
                yield _Argument(index, word, dirty and _HOLE in word)
        else:
            yield _Argument(index, text, dirty)
        splits = text in ("-S", "--split-string", "-vS")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _program(text: str) -> str:
    name = re.split(r"[/\\]", text.strip())[-1].casefold()
    name = re.sub(r"\.(exe|wasm|com)$", "", name)
    if name in _FAMILIES:
        return name
    return re.sub(r"-?[0-9]+(\.[0-9]+)*$", "", name)


def _scan(
    family: _Family,
    name: str,
    arguments: Sequence[_Argument],
    *,
    strict: bool,
    found: dict[int, str],
) -> None:
    """Follow one interpreter's command line. `strict`: its script's name must be ours as well."""
    if family.joined:
        found.update({a.index: name for a in arguments if a.dirty})
        return
    wants_program = has_program = False
    skip = ""
    for argument in arguments:
        text = argument.text
        if skip:
            if argument.dirty and strict and skip != "free":
                found[argument.index] = name
            if skip == "module":
                return
            skip = ""
        elif text[:1] in ("-", "+") and not (text == "-" and wants_program):
            flag, attached = _flag(family, text)
            if argument.dirty and (flag == "program" or (strict and flag != "free")):
                found[argument.index] = name
            if flag == "program" and not attached:
                wants_program = True
                skip = "value" if _takes_value(family, text) else ""
            elif flag == "program":
                wants_program, has_program = False, True
                if family.ends:
                    return
            elif flag == "module" and attached:
                return
            elif flag in ("value", "free", "module") and not attached:
                skip = flag
        elif wants_program:
            if argument.dirty:
                found[argument.index] = name
            wants_program, has_program = False, True
            if family.ends:
                return
        elif not family.operands_first:
            if argument.dirty and strict and not has_program:
                found[argument.index] = name
            return


def _flag(family: _Family, text: str) -> tuple[str, bool]:
    """Say what an option is (program, value or plain) and whether its value is attached."""
    if text.startswith("--") or text in family.long:
        word, equals, _ = text.partition("=")
        if word in family.long:
            return "program", bool(equals)
        return ("value", bool(equals)) if word in family.valued_long else ("plain", True)
    letters = text[1:]
    if family is _SHELL:
        # A shell takes its string from the next plain argument, wherever c stands in the cluster.
        cluster = letters.split(_HOLE)[0]
        if "c" in cluster:
            return "program", False
        return ("value", False) if _takes_value(family, text) else ("plain", True)
    for at, letter in enumerate(letters):
        rest = letters[at + 1 :]
        if letter in family.short:
            # Letters after it may be more flags (node -pe) or the text itself (python -cimport).
            flags_only = family is _SCRIPT and bool(rest) and all(r in family.short for r in rest)
            return "program", bool(rest) and not flags_only
        if letter in family.valued or letter in family.module:
            return ("value" if letter in family.valued else "module"), bool(rest)
        if letter in family.free:
            return "free", bool(rest)
        if not letter.isalnum():
            break
    return "plain", True


def _takes_value(family: _Family, text: str) -> bool:
    return family is _SHELL and any(letter in text[1:] for letter in family.valued)
