"""Drives docker or podman by their command lines. What they say goes to standard error."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.images import ImageError
from orchestrator.images.references import DIGEST, Reference

ENGINES = ("docker", "podman")
_KEPT = 50  # lines of what an engine has said


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a command of an engine failed, and the last thing that it said."""

    code: int
    said: str

    def __str__(self) -> str:
        how = f"exit {self.code}" if self.code >= 0 else f"signal {-self.code}"
        return f"{how}: {self.said}" if self.said else how


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A program that builds and pushes images. `name` is docker or podman."""

    name: str
    program: str

    def build(
        self, image: Reference, *, directory: Path, dockerfile: Path, platform: str = ""
    ) -> None:
        """Build the directory. Raises ImageError."""
        wanted = ["--platform", platform] if platform else []
        failure, _ = self._run(
            ["build", "--tag", str(image), "--file", str(dockerfile), *wanted, str(directory)]
        )
        if failure:
            raise ImageError(f"{self.name} could not build {directory}: {failure}")

    def has(self, image: Reference) -> bool:
        """Whether the image is at hand."""
        try:
            done = subprocess.run(  # noqa: S603 - the engine that was asked for
                [self.program, "image", "inspect", str(image)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except OSError as error:
            raise self._broken(error) from error
        return done.returncode == 0

    def push(self, image: Reference) -> str:
        """Push an image that is at hand; its digest in the registry. Raises ImageError."""
        with tempfile.TemporaryDirectory(prefix="orch-push-") as directory:
            # podman writes the digest to a file, docker only says it.
            file = Path(directory) / "digest"
            wanted = ["--digestfile", str(file)] if self.name == "podman" else []
            failure, lines = self._run(["push", *wanted, str(image)])
            if failure:
                where = image.registry or "docker.io"
                raise ImageError(
                    f"{self.name} could not push {image}: {failure}\n"
                    f"If {where} does not know you: `{self.name} login {where}`. If it has no such "
                    "place for you: write another name at `Image:`"
                )
            said = file.read_text(errors="replace") if file.is_file() else ""
        for line in (said, *reversed(lines)):
            digest = DIGEST.search(line)
            if digest and (line is said or "digest:" in line):
                return digest[0]
        raise ImageError(
            f"{self.name} has pushed {image} and did not say its digest: look it up in the "
            "registry, and write it at `Image:` behind an @"
        )

    def _run(self, arguments: Sequence[str]) -> tuple[Failure | None, list[str]]:
        """Run a command to its end; how it failed, and the last lines that it wrote."""
        lines: deque[str] = deque(maxlen=_KEPT)
        try:
            with subprocess.Popen(  # noqa: S603 - the engine that was asked for
                [self.program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process:
                for line in process.stdout or ():
                    sys.stderr.write(line)
                    sys.stderr.flush()
                    if line.strip():
                        lines.append(line.strip())
        except OSError as error:
            raise self._broken(error) from error
        said = "".join(c for c in lines[-1][:500] if c.isprintable()) if lines else ""
        code = process.returncode
        return (Failure(code=code, said=said) if code else None), list(lines)

    def _broken(self, error: OSError) -> ImageError:
        return ImageError(f"{self.program}: {(error.strerror or str(error)).lower()}")


def find(wanted: str | None) -> Engine:
    """The engine that was asked for, or the first that is installed. Raises ImageError."""
    for name in (wanted,) if wanted else ENGINES:
        program = shutil.which(name)
        if program:
            return Engine(name=name, program=program)
    what = f"{wanted} is not" if wanted else "neither docker nor podman is"
    raise ImageError(
        f"{what} installed here, or not in PATH: install one of {' and '.join(ENGINES)}, or "
        "build the image where one is, and write its name at `Image:` by hand"
    )
