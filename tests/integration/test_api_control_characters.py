"""Names with characters that no name has, in every place that takes one: refused, never a fault.

PostgreSQL takes no NUL in a text; SQLite takes it and cuts what a person sees.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.api import Api, serving
from tests.support.postgres import PostgresServer

TEXTS = {
    "nul": "%00",
    "nul inside": "a%00b",
    "control": "%01",
    "escape": "%1b[31m",
    "line feed": "a%0ab",
    "delete": "%7F",
    "C1 control": "%C2%85",
    "line separator": "%E2%80%A8",
    "half a surrogate": "%ED%A0%80",
    "not UTF-8": "%ff",
    "twice quoted": "%2500",
}


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over each of the databases."""
    path: Path = tmp_path_factory.mktemp("api")
    settings: dict[str, Any] = {}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        settings["database"] = server.new_database()
    with serving(path, **settings) as served:
        served.register("there")
        yield served


def operations(api: Api) -> list[tuple[str, str, list[dict[str, Any]], dict[str, Any]]]:
    """Method, path, parameters and the body's schema of everything that the API does."""
    document = api.send("GET", "/openapi.json").json()
    found: list[tuple[str, str, list[dict[str, Any]], dict[str, Any]]] = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            found.append((method.upper(), path, operation.get("parameters", []), schema))
    return found


def ask(api: Api, method: str, path: str, body: str = "{}") -> int:
    """The status of the answer."""
    if method == "GET":
        return api.send("GET", path).status_code
    return api.raw(path, body, method=method).status_code


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_in_the_address(api: Api, text: str) -> None:
    """400, 404 or 422 for a name in the path, and for every parameter of a query; 401 where the
    run's own token is asked for first."""
    asked = 0
    for method, path, parameters, _ in operations(api):
        if "{" in path:
            at = path.replace("{", "\0").replace("}", "\0").split("\0")
            place = "".join(text if n % 2 else part for n, part in enumerate(at))
            refused = {400, 404, 405, 422} | ({401} if path.endswith("/heartbeat") else set())
            assert ask(api, method, place) in refused, (method, place)
            asked += 1
        known = path.replace("{name}", "there").replace("{kind}", "cron")
        if "{" in known:
            continue
        for parameter in parameters:
            if parameter["in"] == "query":
                place = f"{known}?{quote(parameter['name'])}={text}"
                status = ask(api, method, place)
                assert status < 500, (method, place)
                assert status >= 400 or parameter["name"] in ("kind", "state"), (method, place)
                asked += 1
    assert asked > 25


@pytest.mark.parametrize(
    "text", ["\\u0000", "a\\u0000b", "\\u0001", "\\u001b", "\\ud800", "\\u0085"]
)
def test_in_a_body(api: Api, text: str) -> None:
    """Wherever a body takes text."""
    asked = 0
    for method, path, _, schema in operations(api):
        known = path.replace("{name}", "there").replace("{run_id}", "r-none")
        for key, values in schema.get("properties", {}).items():
            for value in (f'"{text}"', f'["{text}"]'):
                body = f'{{"{key}": {value}}}'
                status = ask(api, method, known, body)
                assert status < 500, (method, known, json.dumps(values), body, status)
                asked += 1
    assert asked > 15
    assert "there" in api.names()


@pytest.mark.parametrize("text", ["orch_%00", "orch_\x01", "orch_\x7f", "orch_\xe9"])
def test_in_a_token(api: Api, text: str) -> None:
    """Nobody's token is nobody's, whatever it is made of."""
    headers = {"Authorization": f"Bearer {text}".encode("latin-1")}
    assert api.send("GET", "/api/v1/triggers", headers=headers).status_code in (200, 400)
