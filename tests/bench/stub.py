"""The stub of a Bacalhau node: takes every job at a given pace and notes when.

`--pace` bounds how many it takes a second, however many ask, and `--latency` is what each answer
takes besides; without them it answers at once. Jobs are `Running` for ever, or `Completed` with
exit code 0 at the first look with `--ends`. It keeps what it was sent and when, for the benchmark
to ask: `GET /bench/puts?from=N` and `GET /bench/bodies`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from typing import Any

_JOBS = "/api/v1/orchestrator/jobs"
_NODE = "n-bench"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Node:
    """What it was sent."""

    def __init__(self, *, pace: float, latency: float, ends: bool) -> None:
        self.service = 1 / pace if pace else 0.0
        self.latency = latency
        self.ends = ends
        self.free_at = 0.0
        self.puts: list[tuple[int, str]] = []  # µs since the epoch, job name
        self.bodies: list[bytes] = []
        self.jobs: dict[str, dict[str, Any]] = {}  # by id and by name

    def put(self, body: bytes) -> dict[str, Any]:
        job: dict[str, Any] = json.loads(body)["Job"]
        self.puts.append((time.time_ns() // 1000, job["Name"]))
        self.bodies.append(body)
        job["ID"] = f"j-{len(self.puts):032x}"
        self.jobs[job["ID"]] = self.jobs[job["Name"]] = job
        return {"JobID": job["ID"], "EvaluationID": f"e-{len(self.puts)}", "Warnings": []}

    def get(self, key: str) -> dict[str, Any] | None:
        job = self.jobs.get(key)
        if job is None:
            return None
        now = time.time_ns()
        execution = {
            "ID": f"x-{job['ID']}",
            "NodeID": _NODE,
            "JobID": job["ID"],
            "JobVersion": 1,
            "ComputeState": {"StateType": 9 if self.ends else 5},
            "DesiredState": {"StateType": 2 if self.ends else 1},
            "CreateTime": now,
            "ModifyTime": now,
        }
        if self.ends:
            execution["RunOutput"] = {"Stdout": "", "stderr": "", "ExitCode": 0, "ErrorMsg": ""}
        state = {"StateType": "Completed" if self.ends else "Running"}
        meta = {"bacalhau.org/orchestrator.id": _NODE}
        shown = {**job, "State": state, "Version": 1, "Revision": 2, "Meta": meta}
        return {"Job": shown, "Executions": {"Items": [execution]}}

    def delay(self, now: float) -> float:
        """Seconds until a job that comes now is answered."""
        self.free_at = max(now, self.free_at) + self.service
        return self.free_at - now + self.latency


class Connection(asyncio.Protocol):
    """HTTP/1.1 with kept connections, as far as a client of a node needs it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            path, _, query = path.partition("?")
            self._handle(method, path, query, rest[:length])

    def _handle(self, method: str, path: str, query: str, body: bytes) -> None:
        node = self._node
        if method == "PUT" and path == _JOBS:
            answer = node.put(body)
            loop = asyncio.get_running_loop()
            delay = node.delay(loop.time())
            if delay > 0:
                loop.call_later(delay, self._answer, 200, json.dumps(answer).encode())
            else:
                self._answer(200, json.dumps(answer).encode())
        elif method == "GET" and path.startswith(f"{_JOBS}/"):
            shown = node.get(path.removeprefix(f"{_JOBS}/"))
            status = 200 if shown else 404
            self._answer(status, json.dumps(shown or {"Status": 404, "Message": "none"}).encode())
        elif path == "/bench/puts":
            first = int(query.removeprefix("from=") or 0)
            self._answer(200, json.dumps(node.puts[first:]).encode())
        elif path == "/bench/bodies":
            self._answer(200, b"\n".join(node.bodies))
        elif path == "/bench/forget":
            node.puts, node.bodies = [], []
            self._answer(200, b"{}")
        else:
            self._answer(200, json.dumps({"NodeID": _NODE, "ID": _NODE, "Status": "OK"}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)


async def _serve(node: Node) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(node), "127.0.0.1", 0, backlog=256)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pace", type=float, default=0.0, help="jobs a second, 0: no bound")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--ends", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(_serve(Node(pace=chosen.pace, latency=chosen.latency, ends=chosen.ends)))


if __name__ == "__main__":
    main()
