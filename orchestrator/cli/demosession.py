"""The demo: a dev node and an orchestrator in this process, and the examples of the library."""

from __future__ import annotations

import fcntl
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

import specs
from bacalhau_client.devnode import ConfigError, DevNode, DevNodeConfig
from orchestrator import logging
from orchestrator.app import App
from orchestrator.cli import files, times
from orchestrator.cli.daemon import build_app, handled, start_app
from orchestrator.cli.demoview import Feed, View, choose_view
from orchestrator.cli.devnode import task_commands
from orchestrator.cli.errors import CliError, usage
from orchestrator.cli.http import Api, segment
from orchestrator.config import Config, split_listen
from orchestrator.store.schema import runs
from orchestrator.web.accesslog import access_log

COUNTING = "count-log"
_TRIED = (
    "register cron --name greet --every 10s",
    "runs list --trigger greet",
    "audit",
)
_EACH = 2.0  # seconds between looks


def run_demo(data_dir: Path, *, length: float | None, listen: str, node: str) -> None:
    """Run until a signal, or for `length` seconds. Raises CliError."""
    view = choose_view()
    for option, address in (("--listen", listen), ("--node", node)):
        _loopback(option, address)
    begun_at = times.now()
    with handled(signal.SIGINT, signal.SIGTERM) as wait:
        view.note("starting …")
        with _everything(data_dir, listen, node, view) as (app, api):
            _introduce(app, api, data_dir, view)
            _register(api, data_dir)
            feed = Feed(api, begun_at)
            begun = time.monotonic()
            with view:
                while True:
                    view.show(feed.look())
                    left = _EACH if length is None else begun + length - time.monotonic()
                    if left <= 0 or wait(min(_EACH, left)):
                        break
            counted = feed.succeeded[COUNTING]
            view.note("stopping …")
    again = f"{_program()} demo --data-dir {shlex.quote(str(data_dir))}"
    view.note(f"stopped; `{again}` goes on from here")
    if length is not None and not counted:
        raise CliError(
            f"no run of {COUNTING} has succeeded in {length:g} s: see {_log_file(data_dir)}"
        )


@contextmanager
def _everything(data_dir: Path, listen: str, node: str, view: View) -> Generator[tuple[App, Api]]:
    """The node and the orchestrator; both end with the block."""
    try:
        for directory in (data_dir, data_dir / "orch"):  # what tasks write is in them
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = _log_file(data_dir).open("a", encoding="utf-8")
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}: choose another --data-dir") from error
    with log, _alone(data_dir):
        logging.set_up(stream=log)
        logs = access_log(data_dir.resolve() / "orch").parent
        logs.mkdir(parents=True, exist_ok=True)
        dev_node = DevNode(_node_config(data_dir, _free("--node", node, view), logs))
        try:
            _start_node(dev_node)
            host, port = _free("--listen", listen, view)
            app = build_app(
                Config(
                    data_dir=data_dir / "orch",
                    bacalhau=dev_node.url,
                    listen=f"{host}:{port}",
                )
            )
            start_app(app)
            try:
                yield app, Api(app.server.url, token=app.tokens.own())
            finally:
                app.stop()
        finally:
            dev_node.stop()


@contextmanager
def _alone(data_dir: Path) -> Generator[None]:
    """Hold the directory. Raises CliError where another demo has it."""
    with (data_dir / "demo.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CliError(
                f"another demo runs on {data_dir}: end it, or say another directory "
                "(`make run STATE=…`, `orch demo --data-dir …`)"
            ) from error
        yield


def _log_file(data_dir: Path) -> Path:
    return data_dir / "orch.log"


def _node_config(data_dir: Path, address: tuple[str, int], logs: Path) -> DevNodeConfig:
    return DevNodeConfig(
        data_dir=data_dir / "node",
        host=address[0],
        port=address[1],
        local_allow=(str(logs),),
        images=task_commands(),
        docker=False,
    )


def _start_node(dev_node: DevNode) -> None:
    try:
        dev_node.start()
    except ConfigError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"the node cannot start: {error}: choose another --node") from error


def _loopback(option: str, address: str) -> int:
    """The port of a loopback address. Raises CliError for any other."""
    try:
        host, port = split_listen(address)
    except ValueError as error:
        raise usage(f"{option} {address!r}: {error}") from error
    if host not in ("127.0.0.1", "localhost"):
        raise usage(f"{option} {address!r}: the demo is for this machine: write 127.0.0.1:{port}")
    return port


def _free(option: str, address: str, view: View) -> tuple[str, int]:
    """The address as asked for, or one with a free port where that is taken."""
    port = _loopback(option, address)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            view.note(f"port {port} is taken, so another one is used")
            return "127.0.0.1", 0
    return "127.0.0.1", port


def _introduce(app: App, api: Api, data_dir: Path, view: View) -> None:
    with app.database.read() as conn:
        before = conn.scalar(select(func.count()).select_from(runs)) or 0
    other = "" if api.url == "http://127.0.0.1:7070" else f" --url {api.url}"
    view.note(f"node   {app.client.url}  (local: WebAssembly and sample images)")
    view.note(f"API    {api.url}/api/v1  (curl {api.url}/api/v1/runs)")
    view.note(f"files  {app.config.data_dir} (log: {_log_file(data_dir)})")
    if before:
        view.note(f"continuing: {before:,} runs in the ledger")
    view.note("try    in a second terminal:")
    for words in _TRIED:
        view.note(f"       {_program()}{other} {words}")


def _program() -> str:
    """How a person at this prompt calls `orch`."""
    return "orch" if shutil.which("orch") else sys.argv[0]


def _register(api: Api, data_dir: Path) -> None:
    """Apply the examples. The counting one reads where the access log is."""
    checker = files.new_checker()
    logs = str(access_log(data_dir.resolve() / "orch").parent)
    for name, path in specs.library().items():
        document = specs.load(path.read_bytes(), file=path.name)
        if name == COUNTING:
            source: Any = document.data["job"]["Tasks"][0]["InputSources"][0]["Source"]
            source["Params"]["SourcePath"] = logs
        checked = checker.check_file(checker.parse(document), base_dir=path.parent)
        api.put(f"triggers/{segment(checked.file.name)}", files.body_of(checked))
