"""The daemon over HTTP: health, metrics, status, backup, schemas, the access log."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from bacalhau_client.devnode import DevNode, DevNodeConfig
from connectors.registry import BUILT_IN
from orchestrator.app import App
from orchestrator.config import Config
from orchestrator.store import backup
from orchestrator.store.errors import StoreError, Unavailable
from orchestrator.web.accesslog import access_log
from orchestrator.web.models import ProblemModel, RunModel, RunPageModel, TriggerModel
from tests.support.api import Api, serving, trigger
from tests.support.inprocess import Orch
from tests.support.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serving(tmp_path / "data") as served:
        yield served


def samples(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = api.send("GET", "/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_health_is_told_without_a_store(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is healthy while the store is away; it is then not ready, and says what."""
    assert api.send("GET", "/healthz").json() == {"ok": True}
    ready = api.send("GET", "/readyz")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True

    def away() -> dict[str, int]:
        raise Unavailable("the database does not answer: secret-host")

    monkeypatch.setattr(api.orch.app.reads, "queue_counts", away)
    ready = api.send("GET", "/readyz")
    assert ready.status_code == 503
    assert ready.json()["store"] == "away"
    assert "secret-host" not in ready.text
    assert api.send("GET", "/healthz").status_code == 200
    assert api.get("/status", 503)["detail"].startswith("the database does not answer")
    assert samples(api)["orch_store_up", ()] == 0


def test_a_cluster_that_is_away_is_reported_and_not_unready(api: Api) -> None:
    """Readiness is about this process; the cluster's state is told beside it."""
    api.register()
    api.post("/triggers/tick/fire", status=201)
    until(lambda: api.get("/status")["cluster"]["state"] == "away", "the cluster seen as away")
    cluster = api.get("/status")["cluster"]
    assert cluster["detail"]
    assert cluster["since"].endswith("Z")
    ready = api.send("GET", "/readyz")
    assert ready.status_code == 200
    assert ready.json()["cluster"] == "away"
    assert samples(api)["orch_cluster_state", (("state", "away"),)] == 1


def test_a_service_that_is_gone_makes_unready(api: Api) -> None:
    """Every service must run."""
    api.orch.app.watcher.stop()
    ready = api.send("GET", "/readyz")
    assert ready.status_code == 503
    assert ready.json()["stopped_services"] == ["watcher"]
    assert samples(api)["orch_service_up", (("service", "watcher"),)] == 0


def test_status_tells_how_everything_stands(api: Api) -> None:
    """Counts, services, lag, cluster: what a person or a dashboard asks first."""
    api.register("a")
    api.register("b")
    api.post("/triggers/b/pause")
    status = api.get("/status")
    assert status["instance"] == api.orch.app.database.instance
    assert status["triggers"] == {"active": 1, "paused": 1}
    assert status["runs"] == {"pending": 0, "submitting": 0, "running": 0, "dead": 0}
    assert set(status["queues"]) == {"line", "delayed", "future", "ready"}
    assert status["lag_seconds"] == 0
    assert all(service["running"] for service in status["services"])
    assert {s["name"] for s in status["services"]} >= {"firing", "dispatcher", "callbacks"}
    assert status["orchestrators"] == [api.orch.app.owner]


def test_metrics_have_help_units_and_no_trigger_names(tmp_path: Path) -> None:
    """After one run, what was done is counted, by kind and never by trigger."""
    config = DevNodeConfig(data_dir=tmp_path / "node", images={"busybox:1": "-"}, docker=False)
    node = DevNode(config).start()
    with serving(tmp_path / "data", node.url) as api:
        before = samples(api)
        api.register("counted-name", every="1s")
        until(lambda: api.get("/runs", state="succeeded")["items"], "a run succeeded")
        after = samples(api)
        text = api.send("GET", "/metrics").text
    node.stop()
    ended = ("orch_runs_ended_total", (("kind", "cron"), ("state", "succeeded")))
    for key in (
        ended,
        ("orch_firings_total", ()),
        ("orch_firing_lag_seconds_count", ()),
        ("orch_submit_seconds_count", ()),
        ("orch_polls_total", ()),
        ("orch_store_commit_seconds_count", ()),
        ("orch_attempts_ended_total", (("result", "succeeded"),)),
    ):
        assert after[key] > before.get(key, 0), key
    assert after["orch_triggers", (("state", "active"),)] == 1
    assert "counted-name" not in text
    own = [f for f in text_string_to_metric_families(text) if f.name.startswith("orch_")]
    assert len(own) > 15
    for family in own:
        assert family.documentation.endswith("."), family.name


def test_backup_over_http_restores(api: Api, tmp_path: Path) -> None:
    """The downloaded file is a whole store; nothing of it is left in the data directory."""
    api.register("kept")
    api.post("/triggers/kept/fire", status=201)
    response = api.send("GET", "/api/v1/backup")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/vnd.sqlite3"
    assert re.search(r'filename="orch-\w+-\d{8}T\d{6}', response.headers["Content-Disposition"])
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert response.headers["Orch-Runs"] == "1"
    file = tmp_path / "file.backup"
    file.write_bytes(response.content)
    restored = backup.restore(file, tmp_path / "restored", copy=False)
    assert restored["triggers"] == 1
    assert restored["runs"] == 1
    assert list(api.orch.app.config.data_dir.glob(".backup*")) == []


def test_what_a_killed_backup_left_is_removed(tmp_path: Path) -> None:
    """Half a backup of a process that was killed goes at the next start."""
    stale = tmp_path / "data" / ".backup-abc"
    stale.mkdir(parents=True)
    (stale / "backup").write_bytes(b"half")
    with serving(tmp_path / "data"):
        assert not stale.exists()


def test_schema_and_connectors(api: Api) -> None:
    """The schema of a kind closes the file: settings, policies and the job, nothing else."""
    found = {c["kind"]: c["error"] for c in api.get("/connectors")["items"]}
    assert found == dict.fromkeys(BUILT_IN)
    schema = api.get("/schema/cron")
    assert schema["additionalProperties"] is False
    assert schema["properties"]["kind"] == {"const": "cron"}
    assert {"schedule", "retry", "job", "callbacks"} <= set(schema["properties"])
    assert schema["properties"]["job"]["properties"]["Tasks"]["type"] == "array"
    assert schema["required"] == ["apiVersion", "kind", "name"]
    assert set(trigger()) <= set(schema["properties"])


def test_checkpoints(api: Api) -> None:
    """Every partition's place, of one trigger or page by page of all."""
    for name in ("a", "b", "c"):
        api.register(name)
    (one,) = api.get("/checkpoints", trigger="b")["items"]
    assert one["trigger"] == "b"
    assert one["planned"] == one["done"] == one["base"]
    assert one["planned"].endswith("-01-01T00:00:00Z")
    first = api.get("/checkpoints", limit=2)
    assert [item["trigger"] for item in first["items"]] == ["a", "b"]
    rest = api.get("/checkpoints", limit=2, cursor=first["next"])
    assert [item["trigger"] for item in rest["items"]] == ["c"]


def test_accepting_needs_a_cluster(api: Api) -> None:
    """When it does not answer, that is said as a bad gateway."""
    assert api.post("/cluster/accept", status=502)["detail"].startswith("the cluster: ")


def test_accept_takes_the_cluster_that_answers(tmp_path: Path) -> None:
    """The identity is remembered and the trail says who did it."""
    config = DevNodeConfig(data_dir=tmp_path / "node", docker=False)
    node = DevNode(config).start()
    with serving(tmp_path / "data", node.url) as api:
        accepted = api.post("/cluster/accept")
        assert accepted["state"] == "ok"
        assert accepted["identity"]
        assert api.get("/trail", limit=1)["items"][0]["action"] == "cluster.accept"
    node.stop()


def test_openapi_describes_every_endpoint(api: Api) -> None:
    """Each has a summary, and nothing of it loads a page from elsewhere."""
    document = api.send("GET", "/openapi.json").json()
    paths = document["paths"]
    assert {"/api/v1/triggers", "/api/v1/runs/{run_id}/logs", "/metrics"} <= set(paths)
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert operation.get("description"), (method, path)
    body = paths["/api/v1/triggers/{name}/pause"]["post"]["requestBody"]
    assert "note" in body["content"]["application/json"]["schema"]["properties"]
    assert "HTTPValidationError" not in str(document)


def test_answers_have_the_shape_that_is_described(api: Api) -> None:
    """The OpenAPI document's runs and triggers have the keys of the real ones, no more or less."""
    api.register()
    run = api.post("/triggers/tick/fire", status=201)
    assert set(run) == set(RunModel.model_fields)
    RunPageModel.model_validate(api.get("/runs"))
    (listed,) = api.get("/triggers")["items"]
    assert set(listed) == set(TriggerModel.model_fields)
    ProblemModel.model_validate(api.get("/runs/nothing", 404))


def test_the_access_log_is_in_the_combined_format(api: Api) -> None:
    """A line a request, without the query, with nothing a client can break out with."""
    api.get("/runs", limit=1)
    api.send("GET", "/nothing/%22%5C", headers={"User-Agent": 'a" 200 1 "b'})
    file = access_log(api.orch.app.config.data_dir)
    assert file == api.orch.app.config.data_dir / "logs" / "access.log"

    def last_two() -> list[str]:
        lines = file.read_text().splitlines()[-2:]
        return lines if len(lines) == 2 and "/nothing/" in lines[1] else []

    lines = until(last_two, "two lines")
    pattern = re.compile(
        r'127\.0\.0\.1 - (\S+) \[[^\]]+\] "GET (\S+) HTTP/1\.1" (\d{3}) (\d+) "-" "([^"]*)"'
    )
    found = [pattern.fullmatch(line) for line in lines]
    assert all(found), lines
    assert [m.groups()[:3] for m in found if m] == [
        ("local", "/api/v1/runs", "200"),
        ("local", "/nothing/\\x22\\x5c", "404"),
    ]


def test_an_unexpected_error_says_nothing_of_the_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is a 500 with a problem, its words only in the log."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(api.orch.app.reads, "trail", broken)
    with capture_logs() as logged:
        found = api.get("/trail", 500)
    # Others say at the same time that the cluster is away.
    assert [entry["log_level"] for entry in logged if entry["event"] == "request failed"] == [
        "error"
    ]
    assert "secret" not in str(found)
    assert "log" in found["detail"]


def test_a_port_that_is_taken_is_a_clear_error(api: Api, tmp_path: Path) -> None:
    """Nothing is started then, and the message names the way out."""
    address = api.url.removeprefix("http://")
    app = App(Config(data_dir=tmp_path / "other", bacalhau="http://127.0.0.1:9", listen=address))
    try:
        with pytest.raises(StoreError, match="choose another --listen"):
            app.start()
        assert not app.firing.running
    finally:
        app.stop()
    assert api.send("GET", "/healthz").status_code == 200


def test_start_and_stop_may_be_repeated(tmp_path: Path) -> None:
    """Twice started is started, twice stopped is stopped; the port is free afterwards."""
    orch = Orch.start(tmp_path / "data", "http://127.0.0.1:9")
    server = orch.app.server
    server.start(orch.app._web())  # pyright: ignore[reportPrivateUsage]
    api = Api(orch)
    assert api.send("GET", "/healthz").status_code == 200
    api.session.close()
    orch.app.stop()
    orch.app.stop()
    assert not [t for t in threading.enumerate() if t.name == "web"]
    host, port = server.url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_stop_does_not_wait_for_followers(tmp_path: Path) -> None:
    """A stream that a client reads ends with the server, not the other way round."""
    config = DevNodeConfig(data_dir=tmp_path / "node", images={"busybox:1": "-"}, docker=False)
    node = DevNode(config).start()
    job = trigger()["job"]
    job = {**job, "Tasks": [{**job["Tasks"][0]}]}
    job["Tasks"][0]["Engine"] = {
        "Type": "docker",
        "Params": {
            "Image": "busybox:1",
            "Entrypoint": ["/bin/sh", "-c"],
            "Parameters": ["sleep 20"],
        },
    }
    with serving(tmp_path / "data", node.url) as api:
        api.register(job=job)
        run_id = api.post("/triggers/tick/fire", status=201)["id"]
        api.until_run(run_id, "running")
        api.send("GET", f"/api/v1/runs/{run_id}/logs?follow=true", stream=True)
    assert not [t for t in threading.enumerate() if t.name == "web"]
    api.session.close()
    node.stop()
