"""From a signed request to a run that has ended: one run for each event, none for a forged one."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from connectors.webhook.settings import BODY_ALONE
from orchestrator.cli.devnode import task_commands
from orchestrator.web.routes import hooks
from tests.support.cli import orch as command
from tests.support.inprocess import Orch
from tests.support.waiting import until

GITHUB = """
apiVersion: orch/v1
kind: webhook
name: pushes
signature: github
secret: {secret: HOOK}
max_body: 2000
"""
BODY = json.dumps({"ref": "refs/heads/main", "text": "é"}).encode()


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The directory in which the orchestrator looks for secrets."""
    directory = tmp_path / "orch" / "secrets"
    directory.mkdir(parents=True, mode=0o700)
    (directory / "HOOK").write_text("a secret\n")
    return directory


@pytest.fixture
def orch(tmp_path: Path, secrets: Path) -> Iterator[Orch]:
    """An orchestrator and a node that runs the sample tasks without Docker."""
    config = DevNodeConfig(data_dir=tmp_path / "node", images=task_commands(), docker=False)
    node = DevNode(config)
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as started:
            yield started
    finally:
        node.stop()


def signed(body: bytes = BODY, secret: bytes = b"a secret", delivery: str = "d-1"):
    """The headers of a delivery."""
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
    }


def post(
    orch: Orch, name: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]]:
    """Post to a hook; the status and what the answer says."""
    request = urllib.request.Request(
        f"{orch.app.server.url}/hooks/{name}", data=body, headers=dict(headers)
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_an_event_is_one_run(orch: Orch):
    """In the ledger when it is answered; a delivery that comes again is known, while its run goes
    on and after it."""
    orch.register(GITHUB)
    status, said = post(orch, "pushes", BODY, signed())
    assert (status, said["id"]) == (202, "d-1")
    (run,) = orch.runs("pushes")
    assert said["runs"] == [run.id]
    assert post(orch, "pushes", BODY, signed())[0] == 202
    ended = orch.until_ended(run.id)
    assert ended.state == "succeeded", orch.attempts(run)
    assert json.loads(orch.attempts(run)[-1].stdout or "{}")["count"] == 1
    assert post(orch, "pushes", BODY, signed())[1]["runs"] == []
    assert len(orch.runs("pushes")) == 1
    assert post(orch, "pushes", BODY, signed(delivery="d-2"))[1]["runs"]
    assert len(orch.drained()) == 2
    orch.audit()


def test_values_of_an_event_reach_the_job(orch: Orch):
    """Fields of the body and headers, below `event`."""
    job = """
job:
  Type: batch
  Tasks:
    - Name: count
      Engine:
        Type: wasm
        Params:
          EntryModule: {module}
          Entrypoint: _start
          Parameters: [/orch/batch.ndjson]
      Env:
        REF: "ref ${{{{ event.body.ref }}}}"
        KIND: "kind ${{{{ event.headers.x-github-event }}}}"
"""
    module = Path(__file__).parents[3] / "specs" / "tasks" / "records.wasm"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(module.parent)
        text = GITHUB + job.format(module="records.wasm")
        done = command(
            "apply", "-f", "-", stdin=text.encode(), env={"ORCH_URL": orch.app.server.url}
        )
    assert done.code == 0, done.err
    post(orch, "pushes", BODY, signed())
    (run,) = orch.drained()
    assert run.state == "succeeded", (run, orch.attempts(run))


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (BODY, {"X-Hub-Signature-256": "sha256=" + "0" * 64}, 401),
        (BODY, {"X-Hub-Signature-256": ""}, 401),
        (BODY, signed(secret=b"another"), 401),
        (BODY + b" ", signed(), 401),
        (b"{", signed(b"{"), 400),
        (b"[" * 1999, signed(b"[" * 1999), 400),
        (b"x" * 2001, signed(b"x" * 2001), 413),
        (BODY, {**signed(), "X-GitHub-Delivery": "\x7f"}, 400),
    ],
)
def test_what_is_refused_makes_no_run(
    orch: Orch, body: bytes, headers: Mapping[str, str], status: int
):
    """Forged, altered, hostile, oversized."""
    orch.register(GITHUB)
    assert post(orch, "pushes", body, {**signed(body), **headers})[0] == status
    assert orch.runs("pushes") == []


def test_a_key_that_comes_with_another_body_is_refused(orch: Orch):
    """Where the sender chose it for the request; what names an event may be told of anew."""
    head = "apiVersion: orch/v1\nkind: webhook\nsignature: none\n"
    orch.register(head + "name: by-default\n")
    orch.register(head + "name: by-name\nidempotency: {header: idempotency-key}\n")
    orch.register(head + "name: by-field\nidempotency: {field: id}\n")
    sent = {"Content-Type": "application/json", "Idempotency-Key": "k-1"}
    for name in ("by-default", "by-name"):
        assert post(orch, name, b'{"n": 1}', sent)[0] == 202
        assert post(orch, name, b'{ "n": 1 }', sent)[0] == 202, "it says the same"
        status, said = post(orch, name, b'{"n": true}', sent)
        assert (status, "another body" in said["detail"]) == (422, True)
        assert post(orch, name, b"n=1", {**sent, "Content-Type": "text/plain"})[0] == 422
        assert post(orch, name, b'{"n": 2}', {**sent, "Idempotency-Key": "k-2"})[0] == 202
        assert len(orch.runs(name)) == 2
    assert post(orch, "by-field", b'{"id": "e", "pending": 2}', sent)[0] == 202
    assert post(orch, "by-field", b'{"id": "e", "pending": 1}', sent)[0] == 202
    assert len(orch.runs("by-field")) == 1


def test_a_body_that_drips_is_given_up(orch: Orch, monkeypatch: pytest.MonkeyPatch):
    """However patient the sender is."""
    monkeypatch.setattr(hooks, "_WITHIN", 0.5)
    orch.register(GITHUB)
    address = orch.app.server.url.removeprefix("http://")
    host, port = address.rsplit(":", 1)
    head = [f"POST /hooks/pushes HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n"]
    head += [f"{name}: {value}\r\n" for name, value in signed().items()]
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.sendall(("".join(head) + "\r\n{").encode())
        assert b" 408 " in sock.recv(4096).split(b"\r\n")[0]
    assert orch.runs("pushes") == []


def test_a_secret_that_is_missing_lets_nobody_in_until_it_is_there(orch: Orch, secrets: Path):
    """Read for each request: neither a restart nor a new registration is needed."""
    orch.register(GITHUB)
    (secrets / "HOOK").unlink()
    for secret in (b"a secret", b""):
        assert post(orch, "pushes", BODY, signed(secret=secret))[0] == 503
    assert orch.runs("pushes") == []
    (secrets / "HOOK").write_text("a newer one")
    assert post(orch, "pushes", BODY, signed())[0] == 401
    assert post(orch, "pushes", BODY, signed(secret=b"a newer one"))[0] == 202


def test_a_hook_is_registered_from_the_command_line(orch: Orch):
    """With options alone, and the default job."""
    env = {"ORCH_URL": orch.app.server.url}
    options = ("--signature", "github", "--secret", "{secret: HOOK}", "--max-body", "500")
    done = command("register", "webhook", "--name", "by-options", *options, env=env)
    assert done.code == 0, done.err
    assert post(orch, "by-options", BODY, signed())[0] == 202
    until(lambda: orch.succeeded("by-options"), "a run that succeeded", within=30)
    refused = command("register", "webhook", "--name", "open", "--secret", "hunter2", env=env)
    assert refused.code == 2
    assert "hunter2" not in refused.err + refused.out


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream"])
def test_the_largest_body_without_a_storage_fits_into_a_job(orch: Orch, content_type: str):
    """Also one that is no text, which is in Base64 twice then."""
    orch.register(GITHUB.replace("max_body: 2000\n", ""))
    letter = b"x" if content_type == "text/plain" else b"\xff"
    body = letter * BODY_ALONE
    status, said = post(orch, "pushes", body, {**signed(body), "Content-Type": content_type})
    assert status == 202, said
    (run,) = orch.drained()
    assert run.state == "succeeded", (run.reason, orch.attempts(run)[-1:])
    assert post(orch, "pushes", body + b"x", signed(body + b"x"))[0] == 413
