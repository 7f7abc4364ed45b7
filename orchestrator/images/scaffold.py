"""The files that `orch new` writes for a script: a trigger file, a Dockerfile, a .dockerignore."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.images import ImageError
from orchestrator.images.kinds import Kind, about_events
from orchestrator.images.scripts import REQUIREMENTS, Script

DOCKERFILE = "Dockerfile"
IGNORE = ".dockerignore"
_NAME_AT_MOST = 50
_MOST_COPIED = 1000  # files
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/:@-]*[A-Za-z0-9]|[A-Za-z]", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class File:
    """One that is to be there, with its place in the new directory."""

    path: PurePosixPath
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What somebody asks for. `image` is the name that the trigger file begins with."""

    script: Script
    kind: str
    name: str
    image: str


def default_name(text: str) -> str:
    """What a trigger or an image is called without a name: `nightly_report` is `nightly-report`."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower())
    return words[:_NAME_AT_MOST].strip("-") or "script"


def trigger_file(wanted: Wanted, kind: Kind) -> File:
    """The trigger file."""
    file = f"{wanted.name}.yaml"
    lines = [
        f"# Made by `orch new` from {wanted.script.name}. Read it through, then:",
        f"#   orch image build {file}",
        f"#   orch image push {file}",
        f"#   orch apply -f {file}",
        "apiVersion: orch/v1",
        f"kind: {wanted.kind}",
        f"name: {_scalar(wanted.name)}",
        *kind.settings,
        *kind.policies,
        "job:",
        "  Type: batch",
        "  Tasks:",
        f"    - Name: {_scalar(wanted.name)}",
        "      Engine:",
        "        Type: docker",
        "        Params:",
        f"          Image: {_scalar(wanted.image)} # orch image writes here what it has made",
        "          # Parameters: [--verbose] # arguments of the script",
        *_environment(kind),
        "      # Network: {Type: Host} # without it the script reaches no network",
        '      # Resources: {CPU: "1", Memory: 512MB}',
    ]
    about = about_events(kind)
    if about:
        lines.insert(lines.index("job:"), f"# {about}.")
    return File(path=PurePosixPath(file), data=_text(lines))


def _scalar(text: str) -> str:
    """A text in YAML; in quotes where it would be read as something else, as `2026` is."""
    plain = _PLAIN.fullmatch(text) and text not in ("true", "false", "null")
    return text if plain else json.dumps(text)


def _environment(kind: Kind) -> Iterator[str]:
    if not kind.env:
        yield "      # Env: {LEVEL: info} # beside ORCH_RUN_ID, ORCH_FIRING_TIME and the others"
        return
    yield "      Env: # beside ORCH_RUN_ID, ORCH_FIRING_TIME and the others"
    yield from (f"        {line}" for line in kind.env)


def dockerfile(script: Script) -> File:
    """The Dockerfile. What stands in it is quoted as JSON, so nothing in it is read by a shell."""
    copied = _copied([script.name, *map(str, script.modules)], script.directory)
    lines = [
        f"# Made by `orch new` from {script.name}.",
        f"FROM {script.base}",
        "WORKDIR /app",
        "# Programs that the script calls are installed here, such as:",
        "# RUN apt-get update && apt-get install -y --no-install-recommends git",
    ]
    if script.requirements:
        lines += _copied([str(file) for file in script.requirements], script.directory)
        lines.append(f"RUN {_array(['pip', 'install', '--no-cache-dir', '-r', REQUIREMENTS])}")
    if script.packages:
        lines.append(f"RUN {_array(['pip', 'install', '--no-cache-dir', *script.packages])}")
    lines += [
        f"# What else it reads is copied here; {IGNORE} has to let it in.",
        *copied,
        "USER nobody",
        f"ENTRYPOINT {_array([*script.interpreter, f'/app/{script.name}'])}",
    ]
    return File(path=PurePosixPath(DOCKERFILE), data=_text(lines))


def _copied(names: Sequence[str], directory: Path) -> Iterator[str]:
    """COPY for files and directories, each to where it lies beside the script."""
    plain = [name for name in names if "/" not in name and not (directory / name).is_dir()]
    if plain:
        yield f"COPY {_array([*plain, './'])}"
    for name in names:
        if name not in plain:
            yield f"COPY {_array([name, './' + name])}"


def _array(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def ignore_file(script: Script) -> File:
    """The .dockerignore: nothing but what the Dockerfile copies."""
    lines = [
        "# Made by `orch new`: only what the Dockerfile copies is part of the image.",
        "*",
        *(f"!{path}" for path in script.needed),
        "**/__pycache__",
    ]
    return File(path=PurePosixPath(IGNORE), data=_text(lines))


def copies(script: Script) -> list[File]:
    """The script and what it needs from beside it, for another directory. Raises ImageError."""
    found: list[File] = []
    for path in script.needed:
        place = script.directory / path
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if not file.is_file() or "__pycache__" in file.parts:
                continue
            relative = PurePosixPath(file.relative_to(script.directory).as_posix())
            found.append(File(path=relative, data=file.read_bytes()))
            if len(found) > _MOST_COPIED:
                raise ImageError(
                    f"{script.directory / script.name} needs more than {_MOST_COPIED} files: "
                    "leave --dir out, so that they stay where they are"
                )
    return found


def _text(lines: Sequence[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def write(files: Sequence[File], directory: Path, *, force: bool) -> None:
    """Write all, or none where one would overwrite another file. Raises ImageError, OSError."""
    places = [(directory / file.path, file.data) for file in files]
    odd = [place for place, _ in places if place.is_symlink() or place.is_dir()]
    if odd:
        raise ImageError(f"{odd[0]} is a link or a directory: --dir names another place")
    there = [place for place, data in places if place.exists() and place.read_bytes() != data]
    if there and not force:
        names = ", ".join(map(str, there))
        verb = "is" if len(there) == 1 else "are"
        remedy = "--force overwrites, --dir names another directory"
        raise ImageError(f"{names} {verb} there already: {remedy}")
    for place, data in places:
        if place.exists() and place not in there:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb" if force else "xb") as file:
            file.write(data)
