"""Requests that must be refused: each names the place and the remedy, and registers nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api import JOB, Api, problem, serving, trigger

JSON = "application/json"
YAML = "application/yaml"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("api")) as served:
        served.register("there")
        yield served


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def doc(**changes: Any) -> str:
    return json.dumps(trigger("new", **changes))


def task(**changes: Any) -> dict[str, Any]:
    return {"Type": "batch", "Tasks": [{**JOB["Tasks"][0], **changes}]}


T, B, N = "/api/v1/triggers", "/api/v1/triggers:batch", "/api/v1/triggers/there"

# method, path, media type, body, status, words of the place, words of message or remedy
CASES: list[tuple[str, str, str, str | bytes, int, str, str]] = [
    # JSON itself
    ("POST", T, JSON, b"\xff\xfe{}", 422, "", "UTF-8"),
    ("POST", T, JSON, "", 422, "", "empty"),
    ("POST", T, JSON, '{"name": "a", "name": "b"}', 422, "name", "twice"),
    ("POST", T, JSON, doc()[:-1], 422, "", "Check commas, quotes and brackets"),
    ("POST", T, JSON, "[1, 2]", 422, "", "not a mapping"),
    ("POST", T, JSON, "NaN", 422, "", "not JSON"),
    ("POST", T, JSON, deep(5000), 422, "", "levels deep"),
    ("POST", T, JSON, doc(rate=1).replace('"rate": 1', '"rate": NaN'), 422, "", "JSON"),
    ("POST", T, JSON, doc(priority=1)[:-1] + "0" * 400 + "}", 422, "", "64 bits"),
    ("POST", T, JSON, doc(description="x\0y"), 422, "description", "NUL"),
    ("POST", T, JSON, doc(description="\ud800"), 422, "", "surrogate"),
    ("POST", N + "/pause", JSON, "{", 422, "", "Check commas"),
    ("POST", N + "/pause", JSON, "[]", 422, "", "not a JSON object"),
    ("POST", N + "/pause", JSON, '{"note": "\\ud800"}', 422, "", "surrogate"),
    ("POST", N + "/pause", JSON, '{"note": "\\u0000"}', 422, "", "NUL"),
    ("POST", N + "/pause", JSON, '{"note": NaN}', 422, "", "NaN is not JSON"),
    ("POST", N + "/pause", JSON, '{"note": 1e999}', 422, "", "does not fit"),
    ("POST", N + "/pause", JSON, '{"note": "a", "note": "b"}', 422, "note", "twice"),
    ("POST", N + "/pause", JSON, deep(200), 422, "", "levels deep"),
    ("POST", N + "/pause", JSON, "[" * 100_000, 422, "", "levels deep"),
    ("POST", N + "/pause", JSON, b'{"note": "\xff"}', 422, "", "UTF-8"),
    ("POST", B, JSON, '{"triggers": [], "triggers": []}', 422, "triggers", "twice"),
    ("POST", B, JSON, '{"n": ' + "9" * 30 + "}", 422, "", "64 bits"),
    # YAML
    ("POST", T, YAML, "a: [1", 422, "", "YAML"),
    ("POST", T, YAML, "a: &x 1\nb: *x\n---\nc: 1", 422, "", "document"),
    ("POST", T, YAML, "a: !!python/object:os.system x", 422, "a", "tag"),
    ("POST", B, YAML, "triggers: []", 415, "", "application/json"),
    ("POST", N + "/pause", YAML, "note: x", 415, "", "application/json"),
    # the trigger
    ("POST", T, JSON, "{}", 422, "", "apiVersion"),
    ("POST", T, JSON, doc(apiVersion="v2"), 422, "apiVersion", "orch/v1"),
    ("POST", T, JSON, doc(kind="corn"), 422, "kind", "cron"),
    ("POST", T, JSON, doc(kind=7), 422, "kind", "must be text"),
    ("POST", T, JSON, json.dumps(trigger("a b")), 422, "name", "letters, digits"),
    ("POST", T, JSON, json.dumps(trigger("x" * 64)), 422, "name", "63"),
    ("POST", T, JSON, json.dumps(trigger("../etc")), 422, "name", "letters, digits"),
    ("POST", T, JSON, doc(schedule="61 * * * *"), 422, "schedule", "61"),
    ("POST", T, JSON, doc(schedule="* * * *"), 422, "schedule", "five"),
    ("POST", T, JSON, doc(schedule=None), 422, "", "nothing says when"),
    ("POST", T, JSON, doc(every="1h", at=["2999-01-01"]), 422, "", "given together"),
    ("POST", T, JSON, doc(every=5), 422, "every", "5s"),
    ("POST", T, JSON, doc(at=["2001-01-01T00:00:00Z"]), 422, "at", "still to come"),
    ("POST", T, JSON, doc(timezone="Europe/Berln"), 422, "timezone", "Europe/Berlin"),
    ("POST", T, JSON, doc(overlap="skipp"), 422, "overlap", "'skip'"),
    ("POST", T, JSON, doc(timeout="-5s"), 422, "timeout", "5m"),
    ("POST", T, JSON, doc(timeout=True), 422, "timeout", "5m"),
    ("POST", T, JSON, doc(retry={"max_attempts": 0}), 422, "retry.max_attempts", "Write 1"),
    ("POST", T, JSON, doc(retry={"tries": 3}), 422, "retry.tries", "unknown key"),
    ("POST", T, JSON, doc(retrys={}), 422, "retrys", "'retry'"),
    ("POST", T, JSON, doc(callbacks={"on_success": {}}), 422, "callbacks.on_success", "url"),
    (
        "POST",
        T,
        JSON,
        doc(callbacks={"on_success": {"url": "ftp://h/"}}),
        422,
        "callbacks.on_success.url",
        "https://",
    ),
    ("POST", T, JSON, doc(job="echo"), 422, "job", "Bacalhau job"),
    ("POST", T, JSON, doc(job={"Type": "batch"}), 422, "job", "Tasks"),
    ("POST", T, JSON, doc(job={**JOB, "Type": "service"}), 422, "job.Type", "batch"),
    ("POST", T, JSON, doc(job={**JOB, "Typ": 1}), 422, "job.Typ", "Type"),
    ("POST", T, JSON, doc(job=task(Env={"A": "${{ nothing }}"})), 422, "job.Tasks[0]", "nothing"),
    ("POST", T, JSON, doc(job=task(Env={"A": "x" * 600_000})), 422, "job", "input source"),
    ("POST", T, JSON, json.dumps(trigger("there")), 409, "", "exists already"),
    # a job with its settings beside it
    ("POST", T, JSON, json.dumps(JOB), 422, "kind", "?kind="),
    ("POST", T + "?kind=cron", JSON, json.dumps(JOB), 422, "name", "?kind="),
    ("POST", T + "?kind=cron&name=n&evry=1h", JSON, json.dumps(JOB), 422, "evry", "'every'"),
    ("POST", T + "?kind=cron&name=n&name=m", JSON, json.dumps(JOB), 422, "name", "twice"),
    ("POST", T + "?kind=nix&name=n&every=1h", JSON, json.dumps(JOB), 422, "kind", "cron"),
    (
        "POST",
        T,
        JSON,
        json.dumps({"kind": "cron", "name": "n", "settings": [], "job": JOB}),
        422,
        "settings",
        "mapping",
    ),
    (
        "POST",
        T,
        JSON,
        json.dumps({"kind": "cron", "name": "n", "settings": {"job": 1}, "job": JOB}),
        422,
        "settings.job",
        "once",
    ),
    # batches
    ("POST", B, JSON, "[]", 422, "", "JSON object"),
    ("POST", B, JSON, "{}", 422, "triggers", "list of triggers"),
    ("POST", B, JSON, '{"triggers": {}}', 422, "triggers", "list of triggers"),
    ("POST", B, JSON, '{"triggers": [], "atomic": true}', 422, "atomic", "unknown key"),
    ("POST", B, JSON, '{"triggers": [1]}', 422, "triggers[0]", "JSON object"),
    ("POST", B, JSON, '{"triggers": [{"kind": []}]}', 422, "triggers[0].kind", "must be text"),
    # commands
    ("PUT", N, JSON, doc(), 422, "name", "leave the name out"),
    ("PUT", N + "?reset=maybe", JSON, doc(), 422, "reset", "true or false"),
    ("DELETE", N + "?cancel=2", JSON, "", 422, "cancel", "true or false"),
    ("POST", N + "/pause", JSON, '{"nota": "x"}', 422, "nota", "'note'"),
    ("POST", N + "/pause", JSON, '{"note": 5}', 422, "note", "text"),
    ("POST", N + "/resume", JSON, '{"skip": "yes"}', 422, "skip", "bool"),
    ("POST", N + "/fire", JSON, '{"now": true}', 422, "now", "unknown"),
    ("POST", N + "/backfill", JSON, "{}", 422, "since", "missing"),
    (
        "POST",
        N + "/backfill",
        JSON,
        '{"since": "yesterday", "until": "2020-01-01T00:00:00Z"}',
        422,
        "since",
        "RFC 3339",
    ),
    (
        "POST",
        N + "/backfill",
        JSON,
        '{"since": "2020-01-02T00:00:00Z", "until": "2020-01-01T00:00:00Z"}',
        409,
        "",
        "empty",
    ),
    (
        "POST",
        N + "/backfill",
        JSON,
        '{"since": "2020-01-02T00:00:00Z", "until": "2999-01-01T00:00:00Z"}',
        409,
        "",
        "future",
    ),
    ("POST", "/api/v1/triggers/nothing/pause", JSON, "{}", 404, "", "nothing"),
    ("POST", "/api/v1/runs/nothing/cancel", JSON, "{}", 404, "", "nothing"),
    ("POST", "/api/v1/runs/nothing/retry", JSON, "{}", 404, "", "nothing"),
    ("POST", "/api/v1/dead/redrive", JSON, '{"runs": []}', 422, "runs", "leave `runs` out"),
    ("POST", "/api/v1/dead/redrive", JSON, '{"runs": ["x"]}', 404, "", "no run"),
    ("POST", "/api/v1/dead/redrive", JSON, '{"trigger": "no"}', 404, "", "no trigger"),
    ("POST", "/api/v1/dead/discard", JSON, '{"runs": "x"}', 422, "runs", "list"),
    ("POST", "/api/v1/tokens", JSON, "{}", 422, "name", "missing"),
    ("POST", "/api/v1/tokens", JSON, '{"name": "a b"}', 409, "", "letters, digits"),
    ("POST", "/api/v1/tokens", JSON, '{"name": "local"}', 409, "", "not 'local'"),
    ("POST", "/api/v1/tokens", JSON, '{"name": "a", "expires": "soon"}', 422, "expires", "30d"),
    (
        "POST",
        "/api/v1/tokens",
        JSON,
        '{"name": "a", "expires": "2020-01-01T00:00:00Z"}',
        409,
        "",
        "expired",
    ),
    ("DELETE", "/api/v1/tokens/nobody", JSON, "", 404, "", "no token"),
    # questions
    ("GET", "/api/v1/runs?limit=0", JSON, "", 422, "limit", "1 to 1000"),
    ("GET", "/api/v1/runs?limit=1001", JSON, "", 422, "limit", "1 to 1000"),
    ("GET", "/api/v1/runs?limit=ten", JSON, "", 422, "limit", "1 to 1000"),
    ("GET", "/api/v1/runs?state=sucseeded", JSON, "", 422, "state", "'succeeded'"),
    ("GET", "/api/v1/runs?sate=dead", JSON, "", 422, "sate", "'state'"),
    ("GET", "/api/v1/runs?since=1h", JSON, "", 422, "since", "RFC 3339"),
    ("GET", "/api/v1/runs?since=2026-13-01T00:00:00Z", JSON, "", 422, "since", "RFC 3339"),
    ("GET", "/api/v1/runs?since=2026-01-01T00:00:00+01:00", JSON, "", 422, "since", "%2B"),
    ("GET", "/api/v1/runs?order=up", JSON, "", 422, "order", "newest"),
    ("GET", "/api/v1/runs?trigger=no", JSON, "", 404, "", "no trigger"),
    ("GET", "/api/v1/runs?cursor=x", JSON, "", 422, "cursor", "next"),
    ("GET", "/api/v1/runs?cursor=W10", JSON, "", 422, "cursor", "next"),
    ("GET", "/api/v1/runs?cursor=W3t9LCAiYSJd", JSON, "", 422, "cursor", "next"),  # [{}, "a"]
    ("GET", "/api/v1/triggers?cursor=WzFd", JSON, "", 422, "cursor", "next"),  # [1]
    ("GET", "/api/v1/trail?cursor=WyJhIl0", JSON, "", 422, "cursor", "next"),  # ["a"]
    ("GET", "/api/v1/runs/nothing", JSON, "", 404, "", "no run"),
    ("GET", "/api/v1/runs/nothing/logs", JSON, "", 404, "", "no run"),
    ("GET", "/api/v1/runs/%00", JSON, "", 400, "", "control"),
    ("GET", "/api/v1/runs?trigger=a%0ab", JSON, "", 400, "", "control"),
    ("GET", "/api/v1/schema/kafca", JSON, "", 404, "", "kafca"),
    ("GET", "/api/v1/audit?trigger=no", JSON, "", 404, "", "no trigger"),
    ("GET", "/api/v1/checkpoints?trigger=no", JSON, "", 404, "", "no trigger"),
    ("GET", "/api/v1/nothing", JSON, "", 404, "", "/openapi.json"),
    ("GET", "/", JSON, "", 404, "", "/openapi.json"),
    ("GET", "/docs", JSON, "", 404, "", "/openapi.json"),
    ("GET", "/api/v1/triggers/", JSON, "", 404, "", "/openapi.json"),
    ("PATCH", N, JSON, "{}", 405, "", "method"),
    ("DELETE", "/api/v1/status", JSON, "", 405, "", "method"),
    # content types that a form of a web page can send
    ("POST", T, "text/plain", doc(), 415, "", "application/json"),
    ("POST", T, "application/x-www-form-urlencoded", "a=b", 415, "", "application/json"),
    ("POST", T, "multipart/form-data; boundary=x", "--x--", 415, "", "application/json"),
    ("POST", N + "/fire", "", "", 415, "", "also without a body"),
]


@pytest.mark.parametrize(
    ("method", "path", "media", "body", "status", "place", "words"),
    CASES,
    ids=[f"{i}-{case[0]}-{case[4]}-{case[6]}" for i, case in enumerate(CASES)],
)
def test_a_bad_request_says_where_and_what_instead(
    api: Api,
    method: str,
    path: str,
    media: str,
    body: str | bytes,
    status: int,
    place: str,
    words: str,
) -> None:
    """A problem document with the place, the reason and the remedy; nothing is registered."""
    before = api.get("/trail", limit=1)["items"]
    response = api.raw(path, body, media=media, method=method)
    assert response.status_code == status, response.text
    found = problem(response)
    assert found["status"] == status
    errors = found.get("errors", [])
    told = json.dumps([found["detail"], errors], ensure_ascii=False)
    assert words in told.replace('\\"', '"'), told
    if place:
        assert any(place in error["path"] for error in errors), told
    for error in errors:
        assert error["message"]
        assert error["remedy"]
        assert len(error["message"]) < 500
    assert len(response.text) < 10_000
    assert "Traceback" not in told
    assert api.names() == ["there"]
    assert api.get("/trail", limit=1)["items"] == before


def test_a_body_that_is_too_large_is_not_read(api: Api) -> None:
    """Above 2 MiB the answer is 413, whether the length is announced or not."""
    huge = b'{"a": "' + b"x" * (3 * 1024 * 1024) + b'"}'
    for data in (huge, iter([huge])):
        response = api.send(
            "POST", T, data=data, headers={"Content-Type": JSON, "Connection": "close"}
        )
        assert response.status_code == 413
        assert "2 MiB" in problem(response)["detail"]
    assert api.names() == ["there"]


def test_compressed_bodies_are_refused(api: Api) -> None:
    """A small body that becomes a large one is not taken."""
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    response = api.send("POST", T, data=b"x", headers=headers)
    assert response.status_code == 415
    assert "Content-Encoding" in problem(response)["detail"]


def test_many_problems_of_a_batch_are_bounded(api: Api) -> None:
    """A batch of ten thousand mistakes is answered with a thousand of them."""
    found = api.post("/triggers:batch", {"triggers": [{}] * 10_000}, 422)
    assert len(found["errors"]) == 1000
