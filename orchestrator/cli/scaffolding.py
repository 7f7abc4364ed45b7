"""Makes the files of `orch new`, checks them as `orch validate` would, and writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import specs
from connectors.registry import Registry, UnknownConnectorError
from orchestrator.cli import output
from orchestrator.cli.errors import CliError, say, usage
from orchestrator.cli.summary import when_due
from orchestrator.images import ImageError, references, scaffold, scripts
from orchestrator.images.kinds import KINDS, OTHER
from orchestrator.operations.checking import CheckedFile, FileChecker


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command line."""

    script: Path
    kind: str
    name: str | None
    directory: Path | None
    image: str | None
    force: bool


def carry_out(asked: Asked, *, as_json: bool) -> None:
    """Write the files, and say what is to be done next."""
    registry = Registry.load()
    try:
        registry.get(asked.kind)
    except UnknownConnectorError as error:
        raise usage(f"--kind: {error}") from error
    name = asked.name or scaffold.default_name(asked.script.stem)
    if not specs.is_name(name):
        raise usage(f"--name: {name[:80]!r} is no name: letters, digits and - . _, at most 63")
    try:
        image = references.parse(asked.image or scaffold.default_name(name))
    except ImageError as error:
        raise usage(f"--image: {error}") from error
    try:
        _write(asked, FileChecker(registry), name, str(image), as_json=as_json)
    except ImageError as error:
        raise CliError(str(error)) from error


def _write(asked: Asked, checker: FileChecker, name: str, image: str, *, as_json: bool) -> None:
    script = scripts.read(asked.script)
    kind = KINDS.get(asked.kind, OTHER)
    wanted = scaffold.Wanted(script=script, kind=asked.kind, name=name, image=image)
    trigger = scaffold.trigger_file(wanted, kind)
    checked = _checked(checker, trigger)
    files = [trigger, scaffold.dockerfile(script), scaffold.ignore_file(script)]
    directory = asked.directory or script.directory
    if directory.resolve() != script.directory.resolve():
        files += scaffold.copies(script)
    taken = [str(path) for path in script.needed if path in {file.path for file in files[:3]}]
    if taken:
        raise ImageError(f"{taken[0]} would be overwritten by a file of that name: rename it")
    scaffold.write(files, directory, force=asked.force)
    notes = [output.clean(note) for note in script.notes]
    place = str(directory / trigger.path)
    steps = _steps(place, kind.change, image=image)
    if as_json:
        written = [str(directory / file.path) for file in files]
        output.as_json({"files": written, "trigger": place, "notes": notes, "next": steps})
        return
    output.line(f"{place}: {asked.kind} {name}: {when_due(checked)}")
    output.line(f"{directory / scaffold.DOCKERFILE}: {_contents(script)}")
    output.line(f"{directory / scaffold.IGNORE}: all but what the Dockerfile copies is left out")
    for file in files[3:]:
        output.line(f"{directory / file.path}: copied")
    for note in notes:
        say(f"note: {note}")
    output.line("next:")
    for step in steps:
        output.line(f"  {step}")


def _checked(checker: FileChecker, trigger: scaffold.File) -> CheckedFile:
    document = specs.load(trigger.data, file=str(trigger.path))
    try:
        return checker.check_file(checker.parse(document), base_dir=None)
    except specs.SpecError as error:
        kind = document.data["kind"]
        raise ImageError(
            f"orch new does not know what kind {kind} needs: take another --kind and change the "
            f"file by `orch schema {kind}`\n{error}"
        ) from error


def _contents(script: scripts.Script) -> str:
    parts = [script.base]
    parts += [str(file) for file in script.requirements[:1]]
    if script.packages:
        parts.append(f"{output.count(len(script.packages), 'package')} of the script's own list")
    parts.append(script.name)
    parts += [str(module) for module in script.modules]
    return ", ".join(parts)


def _steps(place: str, change: tuple[str, ...], *, image: str) -> list[str]:
    steps = [f"edit {place}: {', '.join(change)}"] if change else [f"read {place}"]
    steps.append(f"orch image build {place}")
    where = "" if references.parse(image).has_owner else " # once `Image:` there names a registry"
    steps.append(f"orch image push {place}{where}")
    return [*steps, f"orch apply -f {place}"]
