"""Settings of a dev node. Values only: nothing here opens a file or a socket."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ALL_CAPABILITIES = frozenset(
    {"read:job", "write:job", "read:node", "write:node", "read:agent", "write:agent"}
)

RUN_AS_WRITTEN = "-"
"""The image command that means: run the task's own Entrypoint and Parameters."""


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the setting and the remedy."""


@dataclass(frozen=True, kw_only=True)
class ComputeNode:
    """One simulated compute node; `labels` are matched by a job's `Constraints`."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class User:
    """Someone who may call the API: by bearer key, by user name and password, or both.

    `capabilities` are Bacalhau's: `read:job`, `write:job`, `read:node`, `write:node`,
    `read:agent`, `write:agent`.
    """

    name: str
    api_key: str = ""
    password: str = ""
    capabilities: frozenset[str] = ALL_CAPABILITIES


def is_loopback(host: str) -> bool:
    """Whether a name or an address leads to this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def default_capacity() -> int:
    """Executions that one compute node runs at once: two for every processor."""
    return 2 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class DevNodeConfig:
    """All that a dev node can be told.

    `images` maps the name of an image to the local command that stands for it. The command
    replaces the image's entrypoint and gets the task's Parameters; the command `-` runs the
    task's own Entrypoint and Parameters instead.
    `env_allow` holds regular expressions of host variables that `env:NAME` values may read.
    `local_allow` holds the directories that `localDirectory` sources may read; a path that
    ends in `:rw` may be written too.
    `s3_credentials` are variables such as `AWS_ACCESS_KEY_ID`; None takes the process's own,
    and without any the node does not offer S3.
    `disconnect_after` is how many seconds after its last heartbeat a killed compute node is
    found to be gone, `head_retry_wait` the pause between tries to reach a URL: real nodes
    take about 60 s and 1 s.
    `max_message_bytes` is what the bus to a compute node carries; a job above it wedges the
    node, as on a real one. 0 turns that off.
    `admin` enables `/dev/…` paths that kill and bring back compute nodes.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    images: Mapping[str, str] = field(default_factory=dict[str, str])
    nodes: tuple[ComputeNode, ...] = (ComputeNode(),)
    engines: frozenset[str] = frozenset({"wasm", "docker"})
    capacity: int = field(default_factory=default_capacity)
    users: tuple[User, ...] = ()
    env_allow: tuple[str, ...] = ()
    local_allow: tuple[str, ...] = ()
    s3_credentials: Mapping[str, str] | None = None
    disconnect_after: float = 60.0
    head_retry_wait: float = 1.0
    max_message_bytes: int = 1_048_576
    max_body_bytes: int = 10 * 1024 * 1024
    docker: bool = True
    admin: bool = False

    def __post_init__(self) -> None:
        """Refuses what could only fail later."""
        if self.capacity < 1:
            raise ConfigError(f"capacity: {self.capacity} is not a number of executions; use 1+")
        if not self.nodes:
            raise ConfigError("nodes: a dev node needs at least one compute node")
        if not self.users and not is_loopback(self.host):
            raise ConfigError(
                f"host: {self.host} can be reached from outside, and whoever reaches a dev node "
                "runs programs on this machine; listen on 127.0.0.1, or set users (--api-key)"
            )
        unknown = self.engines - {"wasm", "docker"}
        if unknown:
            raise ConfigError(f"engines: {sorted(unknown)} unknown; there are wasm and docker")


def parse_image(option: str) -> tuple[str, str]:
    """Splits `NAME=COMMAND`; the name ends at the first `=`.

    Raises ConfigError where either part is missing.
    """
    name, separator, command = option.partition("=")
    if not separator or not name.strip() or not command.strip():
        raise ConfigError(
            f"--image {option!r}: write NAME=COMMAND, such as --image busybox:1=- "
            "to run the task's own Entrypoint and Parameters on this machine"
        )
    return name.strip(), command.strip()
