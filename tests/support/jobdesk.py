"""Jobs over HTTP: templates whose task is a shell script, and requests for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests

from tests.support.api import Api
from tests.support.waiting import until

IMAGES = {"busybox:1": "-", "bash:5": "-"}


def job(script: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A Bacalhau job that runs a script."""
    params = {"Image": "busybox:1", "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    task = {"Name": "main", "Engine": {"Type": "docker", "Params": params}, "Env": dict(env or {})}
    return {"Type": "batch", "Tasks": [task]}


def template(
    name: str, script: str = "true", env: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """A trigger file of kind job."""
    own = {"apiVersion": "orch/v1", "kind": "job", "name": name, "retry": {"max_attempts": 1}}
    return {**own, "stop_grace": "100ms", **more, "job": job(script, env)}


class Desk:
    """Requests for jobs."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def template(self, name: str, script: str = "true", /, status: int = 201, **more: Any) -> Any:
        """Register a template."""
        return self.api.post("/triggers", template(name, script, **more), status)

    def send(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **params: Any
    ) -> requests.Response:
        """Any request."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.api.send(method, path, json=body, headers=headers, params=params)

    def submit(
        self, body: Any, *, status: int = 202, key: str | None = None, **params: Any
    ) -> dict[str, Any]:
        """Ask for a job."""
        response = self.send("POST", "/jobs", body, key=key, **params)
        assert response.status_code == status, response.text
        found = json.loads(response.text)
        if status == 202:
            assert response.headers["Location"] == f"/jobs/{found['id']}"
        return found

    def get(self, job_id: str, **params: Any) -> dict[str, Any]:
        """One job."""
        response = self.send("GET", f"/jobs/{job_id}", **params)
        assert response.status_code == 200, response.text
        return response.json()

    def list(self, **params: Any) -> dict[str, Any]:
        """A page of jobs."""
        response = self.send("GET", "/jobs", **params)
        assert response.status_code == 200, response.text
        return response.json()

    def cancel(self, job_id: str, status: int = 202) -> dict[str, Any]:
        """End a job."""
        response = self.send("DELETE", f"/jobs/{job_id}", {})
        assert response.status_code == status, response.text
        return response.json()

    def until(self, job_id: str, *statuses: str, within: float = 20.0) -> dict[str, Any]:
        """Wait until a job has one of these statuses."""

        def look() -> dict[str, Any] | None:
            found = self.get(job_id)
            return found if found["status"] in statuses else None

        return until(look, f"job {job_id} {statuses}", within=within, show=lambda: self.get(job_id))
