"""Rights: which role each request needs.

Every operation of the API stands here. What does not is for admins alone, so that an endpoint that
somebody adds without a rule is open to nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.routing import compile_path

from orchestrator.domain.roles import Role
from orchestrator.web.problems import Trouble

_API = "/api/v1"
_RULES: Mapping[Role, tuple[str, ...]] = {
    Role.VIEWER: (
        f"GET {_API}/triggers",
        f"GET {_API}/triggers/{{name}}",
        f"GET {_API}/runs",
        f"GET {_API}/runs/{{run_id}}",
        f"GET {_API}/runs/{{run_id}}/logs",
        f"GET {_API}/dead",
        f"GET {_API}/checkpoints",
        f"GET {_API}/status",
        f"GET {_API}/audit",
        f"GET {_API}/trail",
        f"GET {_API}/connectors",
        f"GET {_API}/schema/{{kind}}",
        "GET /jobs",
        "GET /jobs/{job_id}",
        "GET /metrics",
        "GET /openapi.json",
    ),
    Role.OPERATOR: (
        f"POST {_API}/triggers/{{name}}/pause",
        f"POST {_API}/triggers/{{name}}/resume",
        f"POST {_API}/triggers/{{name}}/fire",
        f"POST {_API}/triggers/{{name}}/backfill",
        f"POST {_API}/runs:cancel",
        f"POST {_API}/runs/{{run_id}}/cancel",
        f"POST {_API}/runs/{{run_id}}/retry",
        f"POST {_API}/dead/redrive",
        f"POST {_API}/dead/discard",
        f"POST {_API}/checkpoints/{{trigger}}",
        f"POST {_API}/checkpoints/{{trigger}}/restart",
        # One that brings its job along needs more: the endpoints see to that.
        "POST /jobs",
        "POST /jobs:batch",
        "DELETE /jobs/{job_id}",
    ),
    Role.ADMIN: (
        f"POST {_API}/triggers",
        f"POST {_API}/triggers:batch",
        f"POST {_API}/triggers:apply",
        f"PUT {_API}/triggers/{{name}}",
        f"DELETE {_API}/triggers/{{name}}",
        f"POST {_API}/cluster/accept",
        f"GET {_API}/backup",
        "GET /export",
        f"GET {_API}/tokens",
        f"POST {_API}/tokens",
        f"DELETE {_API}/tokens/{{name}}",
        f"GET {_API}/callbacks/key",
    ),
}


_EXACT: dict[tuple[str, str], Role] = {}
_PATTERNS: dict[str, list[tuple[re.Pattern[str], Role]]] = {}
for _role, _places in _RULES.items():
    for _place in _places:
        _method, _path = _place.split(" ")
        if "{" in _path:
            _PATTERNS.setdefault(_method, []).append((compile_path(_path)[0], _role))
        else:
            _EXACT[_method, _path] = _role


def needed(method: str, path: str) -> Role:
    """The role that a request needs; `path` is decoded, as the router sees it."""
    method = "GET" if method == "HEAD" else method
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact
    for pattern, role in _PATTERNS.get(method, ()):
        if pattern.fullmatch(path):
            return role
    return Role.ADMIN


def check_role(role: Role, wanted: Role, what: str = "this request") -> None:
    """Raises Trouble if `role` is not enough for what needs the role `wanted`."""
    if not role.allows(wanted):
        raise Trouble(
            403,
            f"your token has the role {role}, and {what} needs {wanted}: use another token "
            f"(`orch token create NAME --role {wanted}` makes one)",
        )


def rules() -> dict[tuple[str, str], Role]:
    """Method and path of every operation that stands here, as the OpenAPI document has them."""
    return {
        (method, path): role
        for role, places in _RULES.items()
        for method, path in (place.split(" ") for place in places)
    }
