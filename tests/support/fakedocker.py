"""A `docker` and a `podman` where there are none: they note what they are asked, and answer alike.

Nothing is built. An image is "at hand" once `build` was called for it, a push has a digest that is
made of the image's name, and a push to the host `refused.example` is refused as a registry would.
Its sentences are those of docker 27 and podman 5.
"""

from __future__ import annotations

import hashlib
import json
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = """#!{python}
import hashlib, json, pathlib, sys

podman = pathlib.Path(sys.argv[0]).name == "podman"
notes = pathlib.Path({notes!r})
words = sys.argv[1:]
calls = json.loads(notes.read_text()) if notes.exists() else []
built = {{c[c.index("--tag") + 1] for c in calls if "--tag" in c}}
notes.write_text(json.dumps([*calls, [pathlib.Path(sys.argv[0]).name, *words]]))
if words[0] == "build":
    if "RUN false" in pathlib.Path(words[words.index("--file") + 1]).read_text():
        print('process "/bin/sh -c false" did not complete successfully: exit code: 1')
        sys.exit(1)
    print("Successfully built")
elif words[:2] == ["image", "inspect"]:
    sys.exit(0 if words[2] in built else 1)
elif words[0] == "push":
    image = words[-1]
    if image.startswith("refused.example/"):
        print("denied: requested access to the resource is denied", file=sys.stderr)
        sys.exit(1)
    digest = "sha256:" + hashlib.sha256(image.encode()).hexdigest()
    if podman:
        pathlib.Path(words[words.index("--digestfile") + 1]).write_text(digest)
        print("Writing manifest to image destination")
    elif not image.startswith("silent.example/"):
        print(f"The push refers to repository [{{image.rpartition(':')[0]}}]")
        print(f"{{image.rpartition(':')[2]}}: digest: {{digest}} size: 528")
else:
    print("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", file=sys.stderr)
    sys.exit(1)
"""


@dataclass(frozen=True, kw_only=True)
class FakeEngines:
    """The directory for PATH, and what was asked."""

    directory: Path
    notes: Path

    @property
    def calls(self) -> list[list[str]]:
        """The command lines, in order, each with the engine's name first."""
        found: Any = json.loads(self.notes.read_text()) if self.notes.exists() else []
        return found


def install(directory: Path, *names: str) -> FakeEngines:
    """Put engines of these names into a new directory."""
    directory.mkdir()
    notes = directory / "calls.json"
    for name in names:
        program = directory / name
        program.write_text(_PROGRAM.format(python=sys.executable, notes=str(notes)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return FakeEngines(directory=directory, notes=notes)


def digest_of(image: str) -> str:
    """The digest that a push of this image has."""
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
