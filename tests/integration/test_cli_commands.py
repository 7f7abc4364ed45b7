"""Commands against a running orchestrator: what they print, and what has happened afterwards."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.cli import gathering
from orchestrator.cli.errors import UNREACHABLE, CliError
from orchestrator.cli.http import Api as HttpApi
from tests.support.api import Api, serving
from tests.support.cli import Done
from tests.support.cli import orch as run_orch
from tests.support.waiting import until

_FILE = """apiVersion: orch/v1
kind: cron
name: {name}
schedule: "{schedule}"
retry: {{max_attempts: {attempts}, backoff: {{initial: 0s, max: 0s}}}}
job:
  Type: batch
  Tasks:
    - Name: main
      Engine:
        Type: docker
        Params:
          Image: busybox:1
          Entrypoint: [/bin/sh, -c]
          Parameters: ["{script}"]
"""


def _file(name: str, script: str = "echo hello", *, schedule: str = "0 0 1 1 *") -> str:
    return _FILE.format(name=name, script=script, schedule=schedule, attempts=1)


class Cli:
    """`orch` for one orchestrator."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.token = ""

    def __call__(self, *args: str, code: int = 0, stdin: bytes = b"") -> Done:
        env = {"ORCH_URL": self.api.url, "ORCH_TOKEN": self.token}
        done = run_orch(*args, stdin=stdin, env=env)
        assert done.code == code, (done.out, done.err)
        return done

    def json(self, *args: str, code: int = 0) -> Any:
        """With --json: one document and nothing else."""
        done = self(*args, "--json", code=code)
        assert done.err == ""
        return done.json

    def apply(self, *texts: str) -> None:
        """Register triggers."""
        for text in texts:
            self("apply", "-f", "-", stdin=text.encode())

    def fired(self, trigger: str, *states: str) -> str:
        """Fire, and wait until that run is in one of the states; returns its id."""
        run_id = self("triggers", "fire", trigger).out.strip()
        self.api.until_run(run_id, *states)
        return run_id


@pytest.fixture(autouse=True)
def _log_elsewhere(tmp_path: Path) -> Iterator[None]:
    """The orchestrator in this process writes its log to a file, not into the output of `orch`."""
    with (tmp_path / "log").open("w") as file:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=file))
        yield
        structlog.reset_defaults()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevNode]:
    config = DevNodeConfig(
        data_dir=tmp_path_factory.mktemp("node"), images={"busybox:1": "-"}, docker=False
    )
    with DevNode(config) as running:
        yield running


@pytest.fixture
def orch(tmp_path: Path, node: DevNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with serving(tmp_path / "orch", node.url) as api:
        yield Cli(api)


def test_register_show_and_again(orch: Cli) -> None:
    """A registered trigger is listed and shown; a second one of its name is refused."""
    done = orch("register", "cron", "--name", "tick", "--schedule", "0 2 * * *")
    assert done.out.startswith("registered tick: at 02:00 every day")
    assert "tick  cron  active" in orch("triggers", "list").out
    shown = orch.json("triggers", "show", "tick")
    assert shown["document"]["schedule"] == "0 2 * * *"
    assert "data:application/wasm" in json.dumps(shown["document"])
    text = orch("triggers", "show", "tick").out
    assert "schedule: 0 2 * * *" in text
    assert "null" not in text
    assert "sha256" in text
    again = orch("register", "cron", "--name", "tick", "--every", "1s", code=1)
    assert again.err.count("`orch apply`") == 1
    assert orch.json("triggers", "list")["items"][0]["name"] == "tick"


def test_a_refused_trigger_is_not_registered(orch: Cli) -> None:
    """What only the orchestrator can know is told in its words, and nothing is left behind."""
    done = orch("register", "cron", "--name", "x", "--at", "2020-01-01T00:00:00Z", code=1)
    assert "nothing is due any more" in done.err
    assert orch.api.names() == []
    assert orch("triggers", "list").out.startswith("no triggers")


def test_apply_creates_changes_and_leaves(orch: Cli) -> None:
    """apply is idempotent, tells what it did, and reads local modules in."""
    Path("a.yaml").write_text(_file("a"))
    Path("b.yaml").write_text(_file("b"))
    assert orch("apply", "-f", ".").out.splitlines() == ["a: created", "b: created", "2 created"]
    Path("b.yaml").write_text(_file("b", "echo other"))
    items = orch.json("apply", "-f", ".")["items"]
    assert [(i["name"], i["action"]) for i in items] == [("a", "unchanged"), ("b", "changed")]


def test_apply_refuses_all_if_one_file_is_bad(orch: Cli) -> None:
    """Nothing is sent while any file has a fault."""
    Path("a.yaml").write_text(_file("a"))
    Path("b.yaml").write_text(_file("b", schedule="nonsense"))
    done = orch("apply", "-f", ".", code=1)
    assert "b.yaml:4:" in done.err
    assert orch.api.names() == []


def test_apply_tells_the_one_that_is_refused(orch: Cli) -> None:
    """One refused trigger does not keep the others from theirs; the exit code is 1."""
    orch.apply(_file("gone"))
    Path("a.yaml").write_text(_file("a"))
    Path("p.yaml").write_text(_file("p").replace('schedule: "0 0 1 1 *"', "at: '2020-01-01'"))
    Path("p.yaml").write_text(Path("p.yaml").read_text().replace("2020-01-01", "2020-01-01 00:00"))
    done = orch("apply", "-f", ".", code=1)
    assert "a: created" in done.out
    assert "p.yaml: " in done.err
    assert set(orch.api.names()) == {"a", "gone"}


def test_apply_of_many_goes_in_batches(orch: Cli) -> None:
    """A directory of many new triggers, one of them there already, all end up registered."""
    orch.apply(_file("t007"))
    for number in range(60):
        Path(f"{number:03}.yaml").write_text(_file(f"t{number:03}"))
    done = orch("apply", "-f", ".")
    assert done.out.splitlines()[-1] == "59 created, 1 unchanged"
    assert len(orch.api.names()) == 60
    asked = orch.api.orch.app.config.data_dir / "logs" / "access.log"
    assert asked.read_text().count("triggers:apply") == 2
    assert orch("apply", "-f", ".").out.splitlines()[-1] == "60 unchanged"


def test_apply_keeps_what_files_say_beside_the_job(orch: Cli) -> None:
    """A description and labels are sent, too, and compare equal afterwards."""
    Path("a.yaml").write_text(_file("a") + "description: nightly\nlabels: {team: data}\n")
    orch("apply", "-f", "a.yaml")
    document = orch.json("triggers", "show", "a")["document"]
    assert (document["description"], document["labels"]) == ("nightly", {"team": "data"})
    assert orch("diff", "-f", "a.yaml").out == "nothing would change\n"


def test_apply_goes_in_pieces(orch: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files beyond what a request takes go in further ones; what one refuses is told at the end."""
    monkeypatch.setattr(gathering, "_PIECE", 4)
    monkeypatch.setattr(gathering, "_IN_MEMORY", 1000)
    for number in range(10):
        Path(f"{number}.yaml").write_text(_file(f"t{number}"))
    Path("5.yaml").write_text(_file("t5").replace('schedule: "0 0 1 1 *"', "at: 2020-01-01 00:00"))
    done = orch("apply", "-f", ".", code=1)
    assert done.out.splitlines()[-1] == "9 created, 1 failed"
    assert done.err.startswith("orch: 5.yaml: at: nothing is due any more")
    asked = orch.api.orch.app.config.data_dir / "logs" / "access.log"
    assert asked.read_text().count("triggers:apply") == 3
    Path("7.yaml").write_text(_file("t7", "echo other"))
    items = orch.json("diff", "-f", ".")["items"]
    assert [i["action"] for i in items] == [
        *["unchanged"] * 5,
        "create",
        "unchanged",
        "change",
        *["unchanged"] * 2,
    ]


def test_apply_that_breaks_off_tells_how_far_it_came(
    orch: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the orchestrator goes away in the middle, what is done is told; the exit code is 3."""
    monkeypatch.setattr(gathering, "_PIECE", 2)
    post = HttpApi.post_text
    asked: list[str] = []

    def breaking(self: HttpApi, path: str, text: bytes, **params: Any) -> Any:
        asked.append(path)
        if len(asked) == 2:
            raise CliError("no orchestrator answers", UNREACHABLE)
        return post(self, path, text, **params)

    monkeypatch.setattr(HttpApi, "post_text", breaking)
    for number in range(4):
        Path(f"{number}.yaml").write_text(_file(f"t{number}"))
    done = orch("apply", "-f", ".", code=3)
    assert "2 created of 4 before that: `orch apply` again does the rest" in done.err
    assert orch("apply", "-f", ".").out.splitlines()[-1] == "2 created, 2 unchanged"


def test_diff(orch: Cli) -> None:
    """diff shows what apply would change, and nothing where it would not."""
    Path("a.yaml").write_text(_file("a"))
    assert "+name: a" in orch("diff", "-f", "a.yaml").out
    orch("apply", "-f", "a.yaml")
    assert orch("diff", "-f", "a.yaml", "--exit-code").out == "nothing would change\n"
    Path("a.yaml").write_text(_file("a", schedule="5 0 1 1 *"))
    text = orch("diff", "-f", "a.yaml", "--exit-code", code=1).out
    assert "-schedule: 0 0 1 1 *" in text
    assert "+schedule: 5 0 1 1 *" in text
    (item,) = orch.json("diff", "-f", "a.yaml")["items"]
    assert item["action"] == "change"


def test_library_does_not_differ_once_applied(orch: Cli) -> None:
    """Examples with modules of the package compare equal after they were applied."""
    orch("register", "cron", "--name", "tick", "--every", "1h", "--timeout", "1m")
    Path("t.yaml").write_text(
        "apiVersion: orch/v1\nkind: cron\nname: tick\nevery: 1h\ntimeout: 60s\n"
    )
    assert orch("diff", "-f", "t.yaml").out == "nothing would change\n"


def test_pause_resume_delete(orch: Cli) -> None:
    """A paused trigger says why and has no next time; resumed it has; deleted it is gone."""
    orch.apply(_file("t"))
    assert orch("triggers", "pause", "t", "--note", "too loud").out == "t: paused\n"
    assert "too loud" in orch("triggers", "list").out
    assert "paused: too loud" in orch("triggers", "show", "t").out
    assert orch.json("triggers", "show", "t")["next_at"] is None
    assert orch("triggers", "pause", "t").out == "t: paused\n"
    assert "paused: too loud" in orch("triggers", "show", "t").out
    assert "resumed, next at" in orch("triggers", "resume", "t", "--skip").out
    assert orch("triggers", "delete", "t", "--drain").out.startswith("t: delet")
    until(lambda: not orch.api.names(), "the trigger is gone")
    assert "no trigger 't'" in orch("triggers", "show", "t", code=1).err


def test_runs(orch: Cli) -> None:
    """A run is listed, shown with its output, filtered; its log can be read."""
    orch.apply(_file("t", "echo hello; echo oops >&2"))
    run_id = orch.fired("t", "succeeded")
    assert run_id in orch("runs", "list", "--trigger", "t", "--since", "1h").out
    assert orch("runs", "list", "--state", "dead,cancelled").out == "no runs\n"
    text = orch("runs", "show", run_id).out
    assert "stdout     hello" in text
    assert "stderr     oops" in text
    found = orch.json("runs", "show", run_id)
    assert found["attempts"][0]["exit_code"] == 0
    assert orch("runs", "logs", run_id).out.splitlines() == ["hello", "oops"]
    page = orch.json("runs", "list", "--trigger", "t", "--limit", "1", "--oldest")
    assert [r["id"] for r in page["items"]] == [run_id]
    assert page["next"] is None
    assert "no run 'nobody'" in orch("runs", "show", "nobody", code=1).err
    assert "known are 1" in orch("runs", "logs", run_id, "--attempt", "7", code=1).err


def test_pages(orch: Cli) -> None:
    """The cursor of a page leads to the next one; people are told of it on stderr."""
    orch.apply(_file("t"))
    ids = {orch.fired("t", "succeeded") for _ in range(3)}
    first = orch.json("runs", "list", "--limit", "2")
    rest = orch.json("runs", "list", "--limit", "2", "--cursor", first["next"])
    assert {r["id"] for r in first["items"] + rest["items"]} == ids
    assert rest["next"] is None
    assert "--cursor" in orch("runs", "list", "--limit", "2").err


def test_follow_waits_for_the_first_attempt_and_the_end(orch: Cli, tmp_path: Path) -> None:
    """logs -f begins before the job does and ends with it."""
    gate = tmp_path / "gate"
    orch.apply(_file("t", f"echo begin; while [ ! -e {gate} ]; do sleep 0.05; done; echo end"))
    run_id = orch.fired("t", "running")
    gate.touch()
    assert orch("runs", "logs", "-f", run_id).out.splitlines() == ["begin", "end"]


def test_cancel_and_retry(orch: Cli, tmp_path: Path) -> None:
    """A running run is cancelled with its reason, and can be run again."""
    gate = tmp_path / "gate"
    orch.apply(_file("t", f"while [ ! -e {gate} ]; do sleep 0.05; done"))
    run_id = orch.fired("t", "running")
    orch("runs", "cancel", run_id, "--reason", "not today")
    orch.api.until_run(run_id, "cancelled", within=40)
    assert "not today" in orch("runs", "show", run_id).out
    gate.touch()
    assert "runs again" in orch("runs", "retry", run_id).out
    orch.api.until_run(run_id, "succeeded", within=40)
    assert "orch: " in orch("runs", "retry", run_id, code=1).err


def test_dead(orch: Cli) -> None:
    """Dead runs are listed, redriven and discarded."""
    orch.apply(_file("t", "exit 3"))
    run_id = orch.fired("t", "dead")
    assert "exit 3" in orch("dead", "list").out
    assert orch("runs", "logs", run_id).err == "orch: it wrote nothing\n"
    assert orch("dead", "redrive", run_id).out == "1 run put back to run\n"
    until(lambda: len(orch.json("runs", "show", run_id)["attempts"]) == 2, "a second attempt")
    orch.api.until_run(run_id, "dead")
    assert orch.json("dead", "discard", "--trigger", "t", "--note", "seen") == {"count": 1}
    assert orch("dead", "list").out == "no dead runs\n"
    assert "orch: " in orch("dead", "redrive", run_id, code=1).err


def test_backfill(orch: Cli) -> None:
    """backfill counts first, then runs what is missing; a window in the future is refused."""
    orch.apply(_file("t", schedule="0 * * * *"))
    window = ("--since", "3h")
    assert "would be made" in orch("triggers", "backfill", "t", *window, "--dry-run").out
    assert orch.json("triggers", "backfill", "t", *window)["created"] == 3
    assert orch.json("triggers", "backfill", "t", *window)["kept"] == 3
    orch("runs", "cancel", "--trigger", "t", "--backfilled", "--reason", "too wide")
    assert orch.json("runs", "cancel", "--trigger", "t")["count"] == 0
    assert "one run" in orch("runs", "cancel", code=2).err
    assert "one run" in orch("runs", "cancel", "r1", "--trigger", "t", code=2).err
    future = ("--since", "1h", "--until", "2999-01-01")
    assert "future" in orch("triggers", "backfill", "t", *future, code=1).err


def test_checkpoints_audit_and_status(orch: Cli) -> None:
    """Checkpoints, a clean audit and the status come as tables and as JSON."""
    orch.apply(_file("t"))
    orch.fired("t", "succeeded")
    assert orch.json("checkpoints", "show", "t")["items"][0]["partition"] == "schedule"
    assert "t " in orch("checkpoints", "show").out
    assert orch("audit").out.splitlines()[-1] == "ok"
    assert orch.json("audit", "--trigger", "t")["ok"] is True
    assert "no trigger 'x'" in orch("audit", "--trigger", "x", code=1).err
    status = orch.json("status")
    assert status["cluster"]["state"] == "ok"
    text = orch("status").out
    assert "1 active" in text
    assert "all run" in text
    assert orch.json("cluster", "accept")["state"] == "ok"


def test_a_secret_that_is_missing_is_told(orch: Cli) -> None:
    """Registering and applying warn of it, `show` and `status` name it until it is there."""
    hook = ("register", "webhook", "--name", "h", "--signature", "github")
    done = orch(*hook, "--secret", "{secret: ABSENT}")
    words = "secret: there is no secret 'ABSENT': set ORCH_SECRET_ABSENT"
    assert done.err.startswith(f"orch: warning: {words}")
    assert f"warnings    {words}" in orch("triggers", "show", "h").out
    assert f"h: {words}" in orch("status").out
    document = json.dumps(orch.json("triggers", "show", "h")["document"]).encode()
    again = orch("apply", "-f", "-", stdin=document)
    assert (again.out, again.err[:18]) == ("h: unchanged\n", "orch: warning: h: ")
    held = orch.api.orch.app.config.data_dir / "secrets"
    held.mkdir()
    (held / "ABSENT").write_text("s")
    assert orch("apply", "-f", "-", stdin=document).err == ""
    assert orch.json("triggers", "show", "h")["warnings"] == []
    assert "h: " not in orch("status").out


def test_trail_and_missing_checkpoints(orch: Cli) -> None:
    """The trail tells who did what, the newest first; a trigger without checkpoints says so."""
    assert "no trigger has checkpoints" in orch("checkpoints", "show").out
    orch.apply(_file("t"))
    orch("triggers", "pause", "t", "--note", "a reason")
    entries = orch.json("trail", "--limit", "1")
    assert entries["items"][0]["action"] == "pause"
    lines = orch("trail").out.splitlines()
    assert [line.split()[3] for line in lines[1:]] == ["pause", "register"]
    assert "a reason" in lines[1]
    orch("register", "job", "--name", "asked")
    assert orch("checkpoints", "show", "asked").out.startswith("asked has no checkpoints")


def test_audit_with_findings_is_1(orch: Cli) -> None:
    """A ledger that lacks a run is told, and the exit code says so."""
    orch.apply(_file("t", schedule="* * * * *"))
    database = orch.api.orch.app.config.data_dir / "orch.db"
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute("UPDATE partitions SET planned = planned + 60000000, wake_at = NULL")
    done = orch("audit", code=1)
    assert "finding" in done.out
    assert orch.json("audit", code=1)["ok"] is False


def test_tokens(orch: Cli) -> None:
    """From the first token on every command needs one; the secret is shown once, alone."""
    assert orch("token", "list").out.startswith("no tokens")
    done = orch("token", "create", "me", "--expires", "1d")
    secret = done.out.strip()
    assert secret.startswith("orch_")
    assert secret not in done.err
    assert "ORCH_TOKEN" in orch("status", code=1).err
    orch.token = secret
    assert "me" in orch("token", "list").out
    assert secret not in orch("token", "list", "--json").out
    assert orch("token", "revoke", "me").out == "me: revoked\n"


def test_token_in_a_data_directory(tmp_path: Path) -> None:
    """The first token can be made before anything runs; twice the same name is refused."""
    args = ("token", "create", "me", "--data-dir", str(tmp_path / "new"))
    made = run_orch(*args, "--json").json
    assert made["name"] == "me"
    again = run_orch(*args)
    assert again.code == 1
    assert "there is a token 'me' already" in again.err
    with serving(tmp_path / "new") as api:
        assert run_orch("status", env={"ORCH_URL": api.url}).code == 1
        env = {"ORCH_URL": api.url, "ORCH_TOKEN": made["token"]}
        assert run_orch("status", env=env).code == 0


def test_backup_and_restore(orch: Cli, tmp_path: Path) -> None:
    """A backup is one new file; restored it has the same runs; nothing is overwritten."""
    orch.apply(_file("t"))
    orch.fired("t", "succeeded")
    orch.apply(_file("gone"))
    orch("triggers", "delete", "gone")
    until(lambda: orch.api.names() == ["t"], "the other trigger is gone")
    done = orch.json("backup", "b1")
    assert (done["runs"], done["triggers"]) == (1, 1)
    assert done["bytes"] == Path("b1").stat().st_size
    assert "exists already" in orch("backup", "b1", code=1).err
    assert "no directory" in orch("backup", "missing/b1", code=1).err
    assert [p.name for p in Path().iterdir()] == ["b1"]
    into = ("restore", "b1", "--data-dir", str(tmp_path / "restored"))
    restored = orch.json(*into)
    assert restored["runs"] == 1
    assert "holds a store already" in orch(*into, code=1).err
    copy = orch.json("restore", "b1", "--data-dir", str(tmp_path / "copy"), "--copy")
    assert copy["instance"] != restored["instance"]
    Path("rubbish").write_text("no")
    bad = ("restore", "rubbish", "--data-dir", str(tmp_path / "bad"))
    assert "not a backup" in orch(*bad, code=1).err


def test_names_are_completed(orch: Cli) -> None:
    """Names of triggers are completed by asking the orchestrator."""
    orch.apply(_file("night-report"), _file("tick"))
    env = {
        "ORCH_URL": orch.api.url,
        "_ORCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "orch triggers show ni",
        "COMP_CWORD": "3",
    }
    assert run_orch(env=env).out.split() == ["night-report"]
