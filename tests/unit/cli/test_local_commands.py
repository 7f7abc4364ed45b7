"""What works without an orchestrator: validate, simulate, schema, connectors, dry runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import specs
from tests.support.cli import orch

_JOB = "Type: batch\nTasks:\n  - Name: a\n    Engine: {Type: docker, Params: {Image: x}}\n"
_FILE = """apiVersion: orch/v1
kind: cron
name: t
schedule: "30 2 * * *"
timezone: Europe/Berlin
retry: {max_attempts: 7, backoff: {initial: 2s}}
job:
  Type: batch
  Tasks:
    - Name: a
      Engine: {Type: docker, Params: {Image: x}}
"""


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(_FILE)
    Path("job.yaml").write_text(_JOB)


def test_validate_says_ok_of_files_and_jobs() -> None:
    """Trigger files, plain jobs and standard input are checked, each with a line."""
    done = orch("validate", "-f", "t.yaml", "-f", "job.yaml", "-f", "-", stdin=_FILE.encode())
    assert done.code == 0
    assert done.out.splitlines() == [
        "t.yaml: cron t: ok",
        "job.yaml: job without a name: ok",
        "standard input: cron t: ok",
    ]


def test_validate_reads_local_modules() -> None:
    """A WASM path in a job is relative to its file, and checked."""
    Path("dir").mkdir()
    Path("dir/t.wasm").write_bytes(specs.task_path("hello").read_bytes())
    text = _JOB.replace("docker, Params: {Image: x}", "wasm, Params: {EntryModule: ./t.wasm}")
    Path("dir/job.yaml").write_text(text)
    assert orch("validate", "-f", "dir/job.yaml").code == 0
    Path("dir/t.wasm").write_bytes(b"\0asm")
    done = orch("validate", "-f", "dir/job.yaml")
    assert done.code == 1
    assert "dir/job.yaml:4:" in done.err


def test_validate_json() -> None:
    """--json lists what was found with places, and still ends with 1."""
    Path("bad.yaml").write_text(_FILE.replace("schedule", "shedule"))
    done = orch("validate", "-f", "bad.yaml", "-f", "t.yaml", "--json")
    assert done.code == 1
    assert done.json["ok"] is False
    assert done.json["files"] == [{"file": "t.yaml", "kind": "cron", "name": "t"}]
    (problem,) = done.json["problems"]
    assert (problem["file"], problem["line"], problem["path"]) == ("bad.yaml", 4, "shedule")
    assert "'schedule'" in problem["remedy"]


def test_library_is_valid() -> None:
    """The examples that the package ships pass its own check."""
    for path in specs.library().values():
        assert orch("validate", "-f", str(path)).code == 0


def test_simulate_marks_clock_changes() -> None:
    """A time that the change skips is shown at the change, with a note, in the trigger's zone."""
    window = ("--from", "2026-03-28", "--to", "3d")
    done = orch("simulate", "-f", "t.yaml", *window)
    lines = done.out.splitlines()
    assert lines[1].split()[:2] == ["DUE", "(Europe/Berlin)"]
    assert lines[3].startswith("2026-03-29 03:00:00  +02:00  2026-03-29T01:00:00Z  moved from")
    assert lines[-1] == "3 firings"
    items = orch("simulate", "-f", "t.yaml", *window, "--json").json["items"]
    assert [item["key"] for item in items] == [
        "2026-03-28T01:30:00Z",
        "2026-03-29T01:00:00Z",
        "2026-03-30T00:30:00Z",
    ]
    assert items[1]["notes"]


def test_simulate_shows_overlaps_and_stops_at_the_limit() -> None:
    """With --duration the overlap policy shows; --limit cuts, and says so."""
    Path("e.yaml").write_text(_FILE.replace('schedule: "30 2 * * *"', "every: 1m"))
    args = ("simulate", "-f", "e.yaml", "--from", "2026-01-01", "--to", "1h")
    found = orch(*args, "--duration", "90s", "--limit", "4", "--json").json
    assert found["complete"] is False
    assert [item["overlaps"] for item in found["items"]] == [False, True, False, True]
    assert found["items"][1]["starts_at"] is None
    assert "stopped after 4 firings" in orch(*args, "--limit", "4").out


def test_simulate_of_nothing() -> None:
    """An empty window is no failure."""
    done = orch("simulate", "-f", "t.yaml", "--from", "2026-01-01", "--to", "1s")
    assert done.code == 0
    assert done.out.endswith("0 firings\n")


def test_simulate_is_for_due_times() -> None:
    """A trigger that waits for events has no times that could be shown."""
    Path("k.yaml").write_text("apiVersion: orch/v1\nkind: kafka\nname: k\ntopic: logs\n")
    done = orch("simulate", "-f", "k.yaml")
    assert done.code == 1
    assert "k.yaml is of kind kafka, which has no due times" in done.err


def test_schema_is_a_json_schema() -> None:
    """`orch schema cron` has the connector's settings, the policies and the job."""
    schema = orch("schema", "cron").json
    assert {"schedule", "every", "overlap", "retry", "job"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_connectors() -> None:
    """The installed connectors are listed, for people and for programs."""
    assert "cron" in orch("connectors").out
    assert "cron" in [item["kind"] for item in orch("connectors", "--json").json["items"]]


def _dry(*args: str) -> dict[str, object]:
    done = orch("register", "cron", *args, "--dry-run", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_register_merges_options_over_the_file() -> None:
    """Options win over the file, inside nested policies too; the rest stays."""
    found = _dry("--spec", "t.yaml", "--max-attempts", "2", "--name", "u", "--timezone", "UTC")
    assert found["name"] == "u"
    assert found["timezone"] == "UTC"
    assert found["schedule"] == "30 2 * * *"
    assert found["retry"] == {"max_attempts": 2, "backoff": {"initial": "2s"}}


def test_register_replaces_what_excludes_the_option() -> None:
    """--every takes the place of the file's schedule instead of contradicting it."""
    found = _dry("--spec", "t.yaml", "--every", "5m")
    assert found["every"] == "5m"
    assert "schedule" not in found


def test_register_wraps_a_plain_job() -> None:
    """A plain job becomes a trigger with the options' settings; its own name will do."""
    found = _dry("--spec", "job.yaml", "--name", "n", "--at", "2030-01-01T00:00:00Z")
    assert found["at"] == ["2030-01-01T00:00:00Z"]
    Path("job.yaml").write_text("Name: mine\n" + _JOB)
    assert _dry("--spec", "job.yaml", "--every", "1s")["name"] == "mine"


def test_register_without_a_file_runs_the_default_job() -> None:
    """The kind's default job is taken, whole, with every option in its place."""
    found = _dry(
        *("--name", "n", "--every", "1s", "--overlap", "queue_one", "--paused", "--rate", "2.5"),
        *("--catch-up", "none", "--backoff-max", "1m", "--on-failure", "https://example.org/x"),
    )
    assert found["overlap"] == "queue_one"
    assert found["paused"] is True
    assert found["rate"] == 2.5
    assert found["catch_up"] == "none"
    assert found["retry"] == {"backoff": {"max": "1m"}}
    assert found["callbacks"] == {"on_failure": [{"url": "https://example.org/x"}]}
    assert "data:application/wasm" in json.dumps(found["job"])


def test_register_can_turn_a_flag_of_the_file_off() -> None:
    """--no-paused wins over `paused: true`."""
    Path("t.yaml").write_text(_FILE + "paused: true\n")
    assert _dry("--spec", "t.yaml")["paused"] is True
    assert "paused" not in _dry("--spec", "t.yaml", "--no-paused")


def test_a_token_in_a_directory_without_a_store(tmp_path: Path) -> None:
    """Whoever mistypes the data directory is told that there was nothing."""
    made = "had no store, so one was made there"
    assert made in orch("token", "create", "a", "--data-dir", str(tmp_path)).err
    assert made not in orch("token", "create", "b", "--data-dir", str(tmp_path)).err


def test_mappings_are_given_in_braces() -> None:
    """What is a mapping in a trigger file can be an option, too; other text is refused as such."""
    args = ("register", "kafka", "--topic", "logs", "--dry-run", "--json")
    done = orch(*args, "--filter", "{json: {country: DE}}", "--start", '{"0": 5}')
    assert done.json["filter"] == {"json": {"country": "DE"}}
    assert done.json["start"] == {"0": 5}
    refused = orch(*args, "--filter", "{json: {country")
    assert refused.code == 2
    assert "--filter: '{json: {country' is not a mapping" in refused.err


def test_only_policies_that_mean_something_are_options() -> None:
    """A kind's help offers no policy that its trigger files may not have, and no Python."""
    streams = orch("register", "kafka", "--help").out
    times = orch("register", "cron", "--help").out
    assert "--on-dead" in streams
    assert "--parallelism" in streams
    assert not {"--overlap", "--catch-up"} & set(streams.split())
    assert {"--overlap", "--catch-up"} <= set(times.split())
    assert not {"--on-dead", "--parallelism"} & set(times.split())
    assert "None" not in streams


def test_dry_run_for_people_hides_modules() -> None:
    """The YAML of a dry run is readable: modules are shown by their digest."""
    done = orch("register", "cron", "--name", "n", "--every", "15s", "--dry-run")
    assert done.out.startswith("# would register n: every 15 s\n")
    assert "sha256" in done.out
    assert max(len(line) for line in done.out.splitlines()) < 120


@pytest.mark.parametrize("written", ["{name}", "{{secret: {name}}}"])
def test_a_secret_is_a_bare_name(written: str) -> None:
    """An option takes the name of a secret by itself, as its help says, or as a file has it."""
    hook = ("register", "webhook", "--name", "h", "--signature", "github", "--dry-run", "--json")
    options = [word for name in "AB" for word in ("--secret", written.format(name=name))]
    assert orch(*hook, *options).json["secret"] == [{"secret": "A"}, {"secret": "B"}]
    table = ("register", "table", "--dsn", "postgresql://u@h/d", "--table", "t", "--mode", "claim")
    found = orch(*table, "--password", written.format(name="P"), "--dry-run", "--json")
    assert found.json["password"] == {"secret": "P"}, found.err
