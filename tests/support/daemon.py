"""`orch serve` as a process of its own, killed and started again, and asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from tests.support.waiting import until

_API = re.compile(r"api=(http://[0-9.:]+)")
_JSON = {"Content-Type": "application/json"}


class Gone(Exception):
    """The daemon did not answer: it is dead, or dies at this moment."""


class Daemon:
    """One data directory; any number of processes on it, one after the other."""

    def __init__(self, data_dir: Path, bacalhau: str, *, pycache: Path) -> None:
        self.data_dir = data_dir
        self._pycache = pycache  # compiled modules, shared by the many starts
        self.log = data_dir.with_suffix(".log")
        self._bacalhau = bacalhau
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        self.url = ""

    def start(self, failpoints: str = "", *, listen: str = "127.0.0.1:0") -> None:
        """Start it; returns when it answers, or is dead already at one of `failpoints`."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ORCH_")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(self._pycache)
        environment["ORCH_FAILPOINTS"] = failpoints
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "orchestrator", "serve"),
                    *("--data-dir", str(self.data_dir), "--bacalhau", self._bacalhau),
                    *("--listen", listen, "--connect-timeout", "1s", "--read-timeout", "3s"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.data_dir.parent,
            )

        def ready() -> bool:
            said = _API.findall(self.said(begin))
            if said:
                self.url = said[-1]
            return bool(said) or not self.alive

        until(ready, "the daemon answers", within=40, show=lambda: self.said(begin))

    def said(self, begin: int = 0) -> str:
        """What it has logged, from a place in the log on."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the last process ended; negative for a signal."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it as a person would; returns its exit code."""
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._session.close()

    # -- asking -----------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """A request to the API; the answer's JSON. Raises Gone, AssertionError for an error."""
        data = None if body is None else body if isinstance(body, str) else json.dumps(body)
        try:
            response = self._session.request(
                method, f"{self.url}{path}", data=data, params=params, headers=_JSON, timeout=10
            )
        except requests.RequestException as error:
            raise Gone(str(error)) from error
        if not response.ok:
            raise AssertionError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else None

    def apply(self, text: str) -> None:
        """Register a trigger, or leave it as it is."""
        self.call("PUT", f"/api/v1/triggers/{json.loads(text)['name']}", text)

    def try_post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A command that may come too late: the answer, or None where it is refused or unheard."""
        with suppress(Gone, AssertionError):
            return self.call("POST", path, body or {})
        return None

    def runs(self, **params: Any) -> list[dict[str, Any]]:
        """All runs."""
        return list(self._pages("/api/v1/runs", **{"limit": 500} | params))

    def _pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self.call("GET", path, **params)
            yield from page["items"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def triggers(self) -> list[dict[str, Any]]:
        """All triggers."""
        return list(self._pages("/api/v1/triggers"))

    def pause_all(self) -> None:
        """No more firings."""
        for trigger in self.triggers():
            self.call("POST", f"/api/v1/triggers/{trigger['name']}/pause", {"note": "end"})

    def drained(self, *, within: float = 40.0) -> list[dict[str, Any]]:
        """Wait until every run has ended; returns all."""

        def still_open() -> list[dict[str, Any]]:
            return [run for run in self.runs() if run["ended_at"] is None]

        until(lambda: not still_open(), "all runs ended", within=within, show=still_open)
        return self.runs()
