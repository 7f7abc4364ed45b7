"""An orchestrator with its HTTP API, and a client that speaks to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.inprocess import Orch, ShiftedClock
from tests.support.waiting import until

NOBODY = "http://127.0.0.1:9"  # where no cluster answers
JOB: dict[str, Any] = {
    "Type": "batch",
    "Tasks": [
        {
            "Name": "main",
            "Engine": {
                "Type": "docker",
                "Params": {
                    "Image": "busybox:1",
                    "Entrypoint": ["/bin/sh", "-c"],
                    "Parameters": ["echo hello $ORCH_FIRING_KEY"],
                },
            },
        }
    ],
}


def trigger(name: str = "tick", /, **changes: Any) -> dict[str, Any]:
    """A trigger file that fires once a year; None takes a key away."""
    values: dict[str, Any] = {
        "apiVersion": "orch/v1",
        "kind": "cron",
        "name": name,
        "schedule": "0 0 1 1 *",
        "job": JOB,
        **changes,
    }
    if "every" in changes or "at" in changes:
        del values["schedule"]
    return {key: value for key, value in values.items() if value is not None}


class Api:
    """Requests to one orchestrator."""

    def __init__(self, orch: Orch, token: str | None = None) -> None:
        self.orch = orch
        self.url = orch.app.server.url
        self.session = requests.Session()
        self.session.trust_env = False
        if token is not None:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Any request."""
        return self.session.request(method, self.url + path, timeout=30, **options)

    def raw(
        self, path: str, body: bytes | str, *, media: str = "application/json", method: str = "POST"
    ) -> requests.Response:
        """A request with this very body."""
        data = body.encode() if isinstance(body, str) else body
        return self.send(method, path, data=data, headers={"Content-Type": media})

    def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """A GET under /api/v1, whose answer has this status."""
        return self._checked(self.send("GET", f"/api/v1{path}", params=params), status)

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """Likewise a POST with a JSON body."""
        return self._checked(self.send("POST", f"/api/v1{path}", json=body or {}), status)

    def put(self, path: str, body: Any, status: int = 200) -> Any:
        """Likewise a PUT."""
        return self._checked(self.send("PUT", f"/api/v1{path}", json=body), status)

    def delete(self, path: str, status: int = 200) -> Any:
        """Likewise a DELETE."""
        return self._checked(self.send("DELETE", f"/api/v1{path}"), status)

    @staticmethod
    def _checked(response: requests.Response, status: int) -> Any:
        assert response.status_code == status, (response.status_code, response.text)
        expected = "application/json" if status < 400 else "application/problem+json"
        assert response.headers["Content-Type"] == expected
        value = response.json()
        if status >= 400:
            assert value["status"] == status
            assert value["title"]
            assert value["detail"]
        return value

    def register(self, name: str = "tick", /, **changes: Any) -> dict[str, Any]:
        """Register a trigger."""
        return self.post("/triggers", trigger(name, **changes), 201)

    def until_run(self, run_id: str, *states: str, within: float = 20.0) -> dict[str, Any]:
        """Wait until a run is in one of the states."""

        def look() -> dict[str, Any] | None:
            run = self.get(f"/runs/{run_id}")
            return run if run["state"] in states else None

        return until(
            look, f"run {run_id} {states}", within=within, show=lambda: self.get(f"/runs/{run_id}")
        )

    def names(self) -> list[str]:
        """Every trigger there is."""
        return [item["name"] for item in self.get("/triggers", limit=1000)["items"]]


@contextmanager
def serving(
    data_dir: Path, bacalhau: str = NOBODY, *, clock: ShiftedClock | None = None, **settings: Any
) -> Iterator[Api]:
    """An orchestrator in this process; without a cluster unless one is named."""
    with Orch.start(data_dir, bacalhau, clock=clock, **settings) as orch:
        yield Api(orch)


def problem(response: requests.Response) -> dict[str, Any]:
    """The body of an error."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    return json.loads(response.text)
