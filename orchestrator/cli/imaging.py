"""Builds and pushes the image of a trigger file, and writes into it what came of that."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import specs
from orchestrator.cli import files, output
from orchestrator.cli.errors import CliError, usage
from orchestrator.images import ImageError, context, engine, references, triggerfile
from orchestrator.images.engine import Engine
from orchestrator.images.references import Reference
from orchestrator.images.triggerfile import TriggerImage

_PLATFORM = re.compile(r"[a-z0-9]+(?:/[a-z0-9]+){1,2}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command line."""

    file: Path
    engine: str | None
    dockerfile: Path | None
    context: Path | None
    platform: str | None


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is to be built: `image` is the name of the result, without a digest."""

    file: TriggerImage
    engine: Engine
    image: Reference
    directory: Path
    dockerfile: Path
    platform: str

    @property
    def named(self) -> Reference:
        """What the file names now."""
        return references.parse(self.file.image)

    def build(self) -> None:
        self.engine.build(
            self.image,
            directory=self.directory,
            dockerfile=self.dockerfile,
            platform=self.platform,
        )


def build(asked: Asked, *, as_json: bool) -> None:
    """`orch image build`."""
    _carry_out(_build, asked, as_json=as_json)


def push(asked: Asked, *, as_json: bool) -> None:
    """`orch image push`."""
    _carry_out(_push, asked, as_json=as_json)


def _carry_out(step: Callable[[Asked], dict[str, Any]], asked: Asked, *, as_json: bool) -> None:
    try:
        done = step(asked)
    except specs.SpecError as error:
        raise files.problems_error(error.problems) from error
    except ImageError as error:
        raise CliError(str(error)) from error
    if as_json:
        output.as_json(done)
        return
    said = f"Image: {done['image']}" if done["changed"] else f"is {done['image']} already"
    output.line(f"{done['file']}:{done['line']}: {said}")
    output.line("next:")
    for line in done["next"]:
        output.line(f"  {line}")


def _build(asked: Asked) -> dict[str, Any]:
    work = _work(asked)
    work.build()
    # A digest that is there says more: the same content was pushed before.
    pushed = work.named.tag == work.image.tag and work.named.digest
    image = work.named if pushed else work.image
    steps = [] if pushed else [f"orch image push {asked.file} # unless the nodes use this engine"]
    return _result(work, image, [*steps, f"orch apply -f {asked.file}"])


def _push(asked: Asked) -> dict[str, Any]:
    work = _work(asked)
    if not work.image.has_owner:
        raise ImageError(
            f"{work.file.place}: {work.image.repository} names no registry to push to: write it "
            f"as registry.example.com/team/{work.image.repository}"
        )
    if not work.engine.has(work.image):
        work.build()
    digest = work.engine.push(work.image)
    return _result(work, replace(work.image, digest=digest), [f"orch apply -f {asked.file}"])


def _work(asked: Asked) -> _Work:
    if asked.engine is not None and asked.engine not in engine.ENGINES:
        raise usage(f"--engine: {asked.engine[:40]!r} is none: write {' or '.join(engine.ENGINES)}")
    if asked.platform is not None and not _PLATFORM.fullmatch(asked.platform):
        raise usage(f"--platform: {asked.platform[:40]!r} is none: write it as linux/amd64")
    file = triggerfile.read(asked.file)
    try:
        named = references.parse(file.image)
    except ImageError as error:
        raise ImageError(f"{file.place}: {error}") from error
    directory = asked.context or asked.file.parent
    dockerfile = asked.dockerfile or directory / "Dockerfile"
    if not directory.is_dir():
        raise ImageError(f"{directory} is no directory: --context names what is built")
    if not dockerfile.is_file():
        remedy = "`orch new --from SCRIPT` writes one, --dockerfile names another"
        raise ImageError(f"{dockerfile} is not there: {remedy}")
    found = engine.find(asked.engine)
    platform = asked.platform or ""
    tag = context.tag(directory, dockerfile, platform=platform, without=asked.file)
    return _Work(
        file=file,
        engine=found,
        image=Reference(repository=named.repository, tag=tag),
        directory=directory,
        dockerfile=dockerfile,
        platform=platform,
    )


def _result(work: _Work, image: Reference, steps: list[str]) -> dict[str, Any]:
    return {
        "file": str(work.file.path),
        "line": work.file.line,
        "image": str(image),
        "tag": image.tag,
        "digest": image.digest or None,
        "engine": work.engine.name,
        "changed": triggerfile.write(work.file, str(image)),
        "next": steps,
    }
