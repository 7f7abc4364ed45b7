"""Sends the requests of a recording to a node, and compares the answers."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from websockets.sync.client import connect

from tests.conformance.devnode.normal import differences, normal

DATA = Path(__file__).resolve().parents[2] / "data"
WITHIN = 20.0
RECORDED_S3 = "http://127.0.0.1:5555"
JOBS = "/api/v1/orchestrator/jobs"
_ENDED = {"Completed", "Failed", "Stopped"}


def recording(name: str) -> list[dict[str, Any]]:
    """The exchanges of a recording, in order."""
    return json.loads((DATA / "recordings" / f"{name}.json").read_text())["exchanges"]


def module(name: str) -> str:
    """A test module in base64."""
    return base64.b64encode((DATA / "devnode" / f"{name}.wasm").read_bytes()).decode()


def _printed(output: str) -> str:
    """A shell command that prints the bytes behind a recorded output."""
    data = b"".join(b"\xff" if c == "\ufffd" else c.encode() for c in output)
    return "printf '" + "".join(f"\\{byte:03o}" for byte in data) + "'; exit 0"


class Replay:
    """One node, and what stands on it for the recorded ids, names and servers."""

    def __init__(
        self,
        url: str,
        *,
        servers: Mapping[str, str],
        shorter: Mapping[str, str],
        suffix: str = "",
        headers: Callable[[str], Mapping[str, str]] = lambda label: {},
    ) -> None:
        self.url = url
        self._texts = {
            "<base64 of a WASM module>": module("trapg"),
            "<base64 of a 33 kB module>": module("task"),
            **servers,
            **shorter,
        }
        self._suffix = suffix
        self._headers = headers
        self._session = requests.Session()
        self._session.trust_env = False
        self.last_job = ""

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _rename(self, exchanges: list[dict[str, Any]]) -> None:
        for exchange in exchanges:
            request = exchange["request"]
            job = request.get("Job") if isinstance(request, dict) else None
            if job and job.get("Name") and self._suffix:
                self._texts[f'"{job["Name"]}"'] = f'"{job["Name"]}{self._suffix}"'
                self._texts[f"/{job['Name']}"] = f"/{job['Name']}{self._suffix}"
                self._texts[f"'{job['Name']}'"] = f"'{job['Name']}{self._suffix}'"

    def filled(self, value: Any) -> Any:
        """A recorded value with this node's texts in it."""
        text = json.dumps(value)
        for recorded, here in self._texts.items():
            text = text.replace(json.dumps(recorded)[1:-1], json.dumps(here)[1:-1])
        text = re.sub(r"<(\d+) x characters>", lambda found: "x" * int(found[1]), text)
        return json.loads(text)

    def run(
        self,
        name: str,
        *,
        before: Mapping[str, Callable[[Replay], None]] | None = None,
        forgiven: Mapping[str, Mapping[str, str]] | None = None,
    ) -> tuple[dict[str, dict[str, str]], dict[str, set[str]]]:
        """Sends all requests of a recording.

        Returns what differs by label, without what is forgiven, and which forgiven paths did
        differ.
        """
        exchanges = recording(name)
        self._rename(exchanges)
        for exchange in exchanges:
            parameters = json.dumps(exchange["request"])
            if "/bin/busybox" in parameters:
                output = exchanges[exchanges.index(exchange) + 1]["response"]
                printed = output["Executions"]["Items"][0]["RunOutput"]["Stdout"]
                self._texts["head -c 64 /bin/busybox; exit 0"] = _printed(printed)
        failures: dict[str, dict[str, str]] = {}
        used: dict[str, set[str]] = {}
        for exchange in exchanges:
            label = exchange["label"]
            if before and label in before:
                before[label](self)
            paths = dict(forgiven or {}).get(label, {})
            found = self._exchange(exchange, set(paths))
            used[label] = {path for path in paths if _covered(path, found)}
            left = {at: words for at, words in found.items() if not _forgiven(at, paths)}
            if left:
                failures[label] = left
        return failures, used

    def _exchange(self, exchange: dict[str, Any], forgiven: set[str]) -> dict[str, str]:
        if "websocket" in exchange["method"]:
            return self._websocket(exchange)
        give_up = time.monotonic() + WITHIN
        while True:
            found = self._compare(exchange)
            left = {path for path in found if not _forgiven(path, forgiven)}
            if not left or exchange["method"] != "GET" or time.monotonic() > give_up:
                return found
            time.sleep(0.02)  # the recording waited by the clock; this asks until it is so

    def _compare(self, exchange: dict[str, Any]) -> dict[str, str]:
        answer = self._send(exchange)
        body = answer.json()
        expected = self.filled(exchange["response"])
        ids = (expected, body)
        if all(isinstance(part, dict) and part.get("JobID") for part in ids):
            self._texts[exchange["response"]["JobID"]] = body["JobID"]
            self.last_job = body["JobID"]
        found = differences(normal(expected), normal(body))
        if answer.status_code != exchange["status"]:
            found["status"] = f"expected {exchange['status']}, got {answer.status_code}: {body}"
        recorded = exchange["headers"] or {}
        if answer.headers.get("Content-Type") != recorded.get("Content-Type", "application/json"):
            found["Content-Type"] = str(answer.headers.get("Content-Type"))
        if not re.fullmatch(r"[A-Za-z]{32}", answer.headers.get("X-Request-Id", "")):
            found["X-Request-Id"] = str(answer.headers.get("X-Request-Id"))
        return found

    def _send(self, exchange: dict[str, Any]) -> requests.Response:
        label, request = exchange["label"], exchange["request"]
        headers = dict(self._headers(label))
        data: bytes | None = None
        if isinstance(request, str):
            data = request.encode()
        elif request is not None:
            data = json.dumps(self.filled(request)).encode()
        if data is not None and label != "no content type":
            headers["Content-Type"] = "application/json"
        path, parameters = self.filled([exchange["path"], exchange["params"]])
        prepared = requests.Request(
            exchange["method"], self.url, params=parameters, data=data, headers=headers
        ).prepare()
        # Set afterwards: requests would decode and encode what is escaped in the path.
        query = (prepared.url or "").partition("?")[2]
        prepared.url = f"{self.url}{path}" + (f"?{query}" if query else "")
        return self._session.send(prepared, timeout=WITHIN)

    def _websocket(self, exchange: dict[str, Any]) -> dict[str, str]:
        path = exchange["path"].replace("{id}", self.last_job)
        query = "?follow=true" if exchange["params"] else ""
        self.until({"Running", *_ENDED}, self.last_job)
        with connect(f"ws{self.url.removeprefix('http')}{path}{query}", proxy=None) as socket:
            messages = [str(message) for message in socket]
        expected = [text for text in exchange["response"] if not text.startswith("<WebSocket")]
        # Order between the two streams is not kept; within each it is.
        found: dict[str, str] = {}
        for kind in ("1", "2"):
            mark = f'"Type":{kind},'
            found |= differences(
                [text for text in expected if mark in text],
                [text for text in messages if mark in text],
                f"stream {kind}",
            )
        return found

    def until(self, states: set[str], job: str) -> None:
        """Returns when a job is in one of the states."""
        give_up = time.monotonic() + WITHIN
        while True:
            answer = self._session.get(f"{self.url}{JOBS}/{job}", timeout=WITHIN).json()
            if answer["Job"]["State"]["StateType"] in states:
                return
            if time.monotonic() > give_up:
                raise AssertionError(f"{job} did not reach {states}: {answer['Job']['State']}")
            time.sleep(0.01)


def _forgiven(path: str, forgiven: Any) -> bool:
    plain = re.sub(r"\[\d+\]", "[]", path)
    return any(plain == known or plain.startswith((f"{known}.", f"{known}[")) for known in forgiven)


def _covered(path: str, found: Mapping[str, str]) -> bool:
    return any(_forgiven(at, [path]) for at in found)
