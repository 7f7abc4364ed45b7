"""A view of this machine's files with a task's inputs and result paths in their places.

`unshare` starts the command in a mount namespace of its own, whose root holds the machine's
top-level entries by bind mount and the task's targets beside them. Nothing on the machine changes,
and the view is gone with the command.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from . import Mount, TaskFailed

_SHARED = frozenset(
    {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev", "proc", "sys", "run"}
)

_SCRIPT = r"""
set -eu
root=$1 hidden=$2 count=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
for entry in /* /.[!.]*; do
  case " $hidden " in *" ${entry#/} "*) continue ;; esac
  if [ -L "$entry" ]; then cp -P "$entry" "$root$entry"
  elif [ -d "$entry" ]; then mkdir "$root$entry"; mount --rbind "$entry" "$root$entry"
  fi
done
while [ "$count" -gt 0 ]; do
  source=$1 target=$root$2 mode=$3
  shift 3
  count=$((count - 1))
  mkdir -p "$(dirname "$target")"
  if [ -d "$source" ]; then mkdir -p "$target"; else : >>"$target"; fi
  mount --bind "$source" "$target"
  if [ "$mode" = ro ]; then mount -o remount,bind,ro "$target"; fi
done
exec chroot "$root" "$@"
"""


def view_command(directory: Path, mounts: Sequence[Mount], argv: list[str]) -> list[str]:
    """The command that runs `argv` with the mounts in place; raises TaskFailed where it cannot."""
    tool = shutil.which("unshare")
    if tool is None or not sys.platform.startswith("linux"):
        raise TaskFailed(
            "failed to start container: a local command can have inputs and result paths only on "
            "Linux with unshare; use a WASM task, or a Docker daemon"
        )
    hidden: set[str] = set()
    for mount in mounts:
        top = PurePosixPath(mount.target).parts[1]
        if top in _SHARED:
            raise TaskFailed(
                f"failed to start container: a local command cannot have {mount.target} in a "
                f"directory of this machine; use a target outside /{top}"
            )
        hidden.add(top)
    root = directory / "view"
    root.mkdir(parents=True, exist_ok=True)
    options = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    places: list[str] = []
    # Shorter targets first: a file inside another input's directory must lie on top of it.
    for mount in sorted(mounts, key=lambda mount: len(mount.target)):
        mode = "rw" if mount.writable else "ro"
        places += [str(mount.source.resolve()), mount.target, mode]
    head = [tool, *options, "sh", "-c", _SCRIPT, "sh", str(root), " ".join(hidden)]
    return [*head, str(len(mounts)), *places, *argv]
