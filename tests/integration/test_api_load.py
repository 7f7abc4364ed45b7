"""The API under more than it can do at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.api import Api, serving, trigger
from tests.support.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serving(tmp_path / "data") as served:
        yield served


def test_more_questions_than_connections(api: Api) -> None:
    """When every connection to the database is taken, the answer is 503 with a time to wait."""
    database: Any = api.orch.app.database
    pool = database._read_engine.pool
    pool._timeout = 0.2
    with ExitStack() as held:
        for _ in range(pool.size() + pool._max_overflow):
            held.enter_context(database.read())
        response = api.send("GET", "/api/v1/runs")
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert api.send("GET", "/healthz").status_code == 200
    pool._timeout = 30
    until(lambda: api.send("GET", "/api/v1/runs").status_code == 200, "it answers again")


def test_many_clients_at_once(api: Api) -> None:
    """Sixty clients that register and read get each their own answer."""
    with ThreadPoolExecutor(60) as pool:

        def work(number: int) -> str:
            with requests.Session() as session:
                session.trust_env = False
                made = session.post(
                    f"{api.url}/api/v1/triggers", json=trigger(f"t{number}"), timeout=60
                )
                assert made.status_code == 201, made.text
                shown = session.get(f"{api.url}/api/v1/triggers/t{number}", timeout=60)
                return shown.json()["name"]

        assert list(pool.map(work, range(60))) == [f"t{n}" for n in range(60)]
    assert len(api.names()) == 60


def test_one_name_for_many_clients(api: Api) -> None:
    """Of clients that register the same name at once, one has it and the others a conflict."""

    def work(_: int) -> int:
        response = requests.post(f"{api.url}/api/v1/triggers", json=trigger(), timeout=60)
        return response.status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(pool.map(work, range(10)))
    assert statuses == [201] + [409] * 9
    assert api.names() == ["tick"]


def test_the_speed_of_a_batch_is_told(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """Two thousand triggers of one job in one request; how long it took is printed only."""
    body = {"triggers": [trigger(f"t{i}", schedule=f"{i % 60} * * * *") for i in range(2000)]}
    response = api.send("POST", "/api/v1/triggers:batch", json=body)
    assert response.status_code == 201
    seconds = response.elapsed.total_seconds()
    with capsys.disabled():
        print(f"\ntriggers:batch: {2000 / seconds:,.0f} triggers/s")
