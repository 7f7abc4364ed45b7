"""Roles: what each token may do, for every operation that the API's own document names.

An endpoint that somebody adds without a line here fails the first test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.domain.roles import Role
from orchestrator.web import rights
from tests.support.api import JOB, Api, problem, serving

OWN = None  # proves itself in a way of its own, or needs no proof
EVERYBODY, WORKERS, ADMINS = Role.VIEWER, Role.OPERATOR, Role.ADMIN
NEEDED: dict[str, Role | None] = {
    "GET /api/v1/audit": EVERYBODY,
    "GET /api/v1/backup": ADMINS,
    "GET /api/v1/callbacks/key": ADMINS,
    "GET /api/v1/checkpoints": EVERYBODY,
    "POST /api/v1/checkpoints/{trigger}": WORKERS,
    "POST /api/v1/checkpoints/{trigger}/restart": WORKERS,
    "POST /api/v1/cluster/accept": ADMINS,
    "GET /api/v1/connectors": EVERYBODY,
    "GET /api/v1/dead": EVERYBODY,
    "POST /api/v1/dead/discard": WORKERS,
    "POST /api/v1/dead/redrive": WORKERS,
    "GET /api/v1/runs": EVERYBODY,
    "GET /api/v1/runs/{run_id}": EVERYBODY,
    "POST /api/v1/runs/{run_id}/cancel": WORKERS,
    "PUT /api/v1/runs/{run_id}/heartbeat": OWN,
    "GET /api/v1/runs/{run_id}/logs": EVERYBODY,
    "POST /api/v1/runs/{run_id}/retry": WORKERS,
    "POST /api/v1/runs:cancel": WORKERS,
    "GET /api/v1/schema/{kind}": EVERYBODY,
    "GET /api/v1/status": EVERYBODY,
    "GET /api/v1/tokens": ADMINS,
    "POST /api/v1/tokens": ADMINS,
    "DELETE /api/v1/tokens/{name}": ADMINS,
    "GET /api/v1/trail": EVERYBODY,
    "GET /api/v1/triggers": EVERYBODY,
    "POST /api/v1/triggers": ADMINS,
    "POST /api/v1/triggers:apply": ADMINS,
    "POST /api/v1/triggers:batch": ADMINS,
    "DELETE /api/v1/triggers/{name}": ADMINS,
    "GET /api/v1/triggers/{name}": EVERYBODY,
    "PUT /api/v1/triggers/{name}": ADMINS,
    "POST /api/v1/triggers/{name}/backfill": WORKERS,
    "POST /api/v1/triggers/{name}/fire": WORKERS,
    "POST /api/v1/triggers/{name}/pause": WORKERS,
    "POST /api/v1/triggers/{name}/resume": WORKERS,
    "GET /export": ADMINS,
    "GET /healthz": OWN,
    "POST /hooks/{trigger}": OWN,
    "GET /jobs": EVERYBODY,
    "POST /jobs": WORKERS,
    "POST /jobs:batch": WORKERS,
    "DELETE /jobs/{job_id}": WORKERS,
    "GET /jobs/{job_id}": EVERYBODY,
    "GET /metrics": EVERYBODY,
    "GET /readyz": OWN,
}


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Role, Api]]:
    """The API, asked by each role."""
    with serving(tmp_path_factory.mktemp("roles")) as api:
        api.register("there")
        api.register("work", kind="job", schedule=None)
        tokens = api.orch.app.tokens
        yield {role: Api(api.orch, tokens.create(role.value, role, None, "local")) for role in Role}


def test_every_operation_has_a_rule(asking: dict[Role, Api]) -> None:
    """Here and in the product, both ways."""
    document = asking[Role.ADMIN].send("GET", "/openapi.json").json()
    operations = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert operations == set(NEEDED)
    known = {f"{method} {path}": role for (method, path), role in rights.rules().items()}
    del known["GET /openapi.json"]
    assert known == {place: role for place, role in NEEDED.items() if role is not OWN}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("place", NEEDED)
def test_a_role_may_do_this(asking: dict[Role, Api], place: str, role: Role) -> None:
    """It is let through, to an endpoint that finds fault with what it is asked; or it is 403."""
    method, path = place.split(" ")
    path = path.replace("{name}", "nobody")
    api = asking[role]
    response = api.send(method, re.sub(r"\{[a-z_]+\}", "none", path), **_body(method))
    allowed = NEEDED[place] is OWN or role.allows(NEEDED[place] or Role.VIEWER)
    if allowed:
        assert response.status_code != 403, response.text
        return
    assert response.status_code == 403
    detail = problem(response)["detail"]
    assert f"has the role {role}" in detail
    assert f"--role {NEEDED[place]}" in detail


def _body(method: str) -> dict[str, Any]:
    return {} if method == "GET" else {"json": {}}


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v1/triggers/a/b/c", "/"])
def test_what_has_no_rule_is_for_admins(asking: dict[Role, Api], path: str) -> None:
    """An endpoint without a rule would be closed, not open."""
    statuses = [asking[role].send("GET", path).status_code for role in Role]
    assert statuses == [403, 403, 404]


def test_a_head_is_a_get(asking: dict[Role, Api]) -> None:
    """It sees no more."""
    assert asking[Role.VIEWER].send("HEAD", "/api/v1/tokens").status_code == 403
    assert asking[Role.VIEWER].send("HEAD", "/api/v1/triggers").status_code in (200, 405)


def test_only_an_admin_brings_a_job_along(asking: dict[Role, Api]) -> None:
    """A whole job is any job: as much as to register one. One of a template is not."""
    for path, body in (
        ("/jobs", {"job": JOB}),
        ("/jobs:batch", {"jobs": [{"template": "work"}, {"job": JOB}]}),
    ):
        refused = asking[Role.OPERATOR].send("POST", path, json=body)
        assert refused.status_code == 403
        assert "a whole job needs admin" in problem(refused)["detail"]
        assert asking[Role.ADMIN].send("POST", path, json=body).status_code == 202
    assert len(asking[Role.ADMIN].send("GET", "/jobs").json()["items"]) == 3
    assert asking[Role.OPERATOR].send("POST", "/jobs", json={"template": "work"}).status_code == 202


def test_a_role_that_is_none(asking: dict[Role, Api]) -> None:
    """Named, with what there is."""
    body = {"name": "eve", "role": "root"}
    response = asking[Role.ADMIN].send("POST", "/api/v1/tokens", json=body)
    assert response.status_code == 422
    [entry] = problem(response)["errors"]
    assert entry["path"] == "role"
    assert all(role in str(entry) for role in Role)


def test_a_token_says_its_role(asking: dict[Role, Api]) -> None:
    """When it is made, in the list and in the trail."""
    admin = asking[Role.ADMIN]
    made = admin.post("/tokens", {"name": "ann", "role": "operator", "expires": "1d"}, 201)
    assert made["role"] == "operator"
    assert {t["name"]: t["role"] for t in admin.get("/tokens")["items"]}["ann"] == "operator"
    newest = admin.get("/trail", limit=1)["items"][0]
    assert (newest["subject"], newest["detail"]) == ("ann", {"role": "operator"})
    admin.delete("/tokens/ann")
