"""The command line of the dev node: `python -m bacalhau_client.devnode --listen HOST:PORT …`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from .config import ComputeNode, ConfigError, DevNodeConfig, User, default_capacity, parse_image
from .node import DevNode


def serve(config: DevNodeConfig) -> int:
    """Runs a dev node until SIGINT or SIGTERM; 0, or 1 where the address is taken.

    Call it from the main thread: it sets signal handlers while it runs.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The main thread sleeps: only this wakes it up, whichever thread is given the signal.
    waking = signal.set_wakeup_fd(writer)

    def ask(number: int, frame: FrameType | None) -> None:
        """What counts is that the system's own action does not happen."""

    earlier = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    node = DevNode(config)
    try:
        node.start()
        sys.stdout.write(f"dev node listens on {node.url}, data in {config.data_dir}\n")
        for image, command in config.images.items():
            sys.stdout.write(f"image {image} is the command: {command}\n")
        sys.stdout.flush()
        os.read(reader, 1)
    except ConfigError as error:
        sys.stderr.write(f"dev-node: {error}\n")
        return 1
    except OSError as error:
        place = f"{config.host}:{config.port}"
        sys.stderr.write(f"dev-node: cannot listen on {place}: {error}; choose another --listen\n")
        return 1
    finally:
        node.stop()
        for number, handler in earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(waking)
        os.close(reader)
        os.close(writer)
    return 0


def main(argv: Sequence[str] | None = None, *, images: Mapping[str, str] | None = None) -> int:
    """Parses the command line and serves; 2 for usage that makes no sense.

    `images` are commands that stand for images unless an option names another one.
    """
    options = parser().parse_args(argv)
    try:
        config = _config(options, images or {})
    except ConfigError as error:
        sys.stderr.write(f"dev-node: {error}\n")
        return 2
    return serve(config)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    result = argparse.ArgumentParser(
        prog="orch dev-node", description="A local node with Bacalhau's HTTP API."
    )
    add = result.add_argument
    add("--listen", default="127.0.0.1:1234", metavar="HOST:PORT", help="port 0 takes a free one")
    add(
        "--data-dir",
        type=Path,
        default=Path(".orch/devnode"),
        metavar="DIR",
        help="where jobs and their state are kept",
    )
    add(
        "--image",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="local command that stands for an image and gets the task's Parameters; "
        "the command - runs the task's own Entrypoint and Parameters",
    )
    add(
        "--node",
        action="append",
        default=[],
        metavar="KEY=VALUE,…",
        help="adds a compute node with these labels; without any there is one without labels",
    )
    add("--capacity", type=int, default=default_capacity(), help="executions at once on each node")
    add(
        "--allow-env",
        action="append",
        default=[],
        metavar="REGEX",
        help="variables of this machine that env:NAME values of a task may read",
    )
    add(
        "--allow-path",
        action="append",
        default=[],
        metavar="DIR[:rw]",
        help="a directory that localDirectory sources may read, with :rw write",
    )
    add("--api-key", action="append", default=[], metavar="NAME=KEY", help="require a bearer key")
    return result


def _config(options: argparse.Namespace, images: Mapping[str, str]) -> DevNodeConfig:
    host, separator, port = str(options.listen).rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen {options.listen!r}: write HOST:PORT, such as 127.0.0.1:1234")
    nodes = tuple(ComputeNode(labels=_labels(text)) for text in options.node)
    return DevNodeConfig(
        data_dir=options.data_dir,
        host=host.strip("[]") or "127.0.0.1",
        port=int(port),
        images={**images, **dict(parse_image(text) for text in options.image)},
        nodes=nodes or (ComputeNode(),),
        capacity=options.capacity,
        env_allow=tuple(options.allow_env),
        local_allow=tuple(options.allow_path),
        users=tuple(_user(text) for text in options.api_key),
    )


def _labels(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise ConfigError(f"--node {text!r}: write KEY=VALUE, several with commas between")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _user(text: str) -> User:
    name, separator, key = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"--api-key {text!r}: write NAME=KEY")
    return User(name=name, api_key=key)
