"""Where the daemon's settings come from, and which of them wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import Config, ConfigError, load
from orchestrator.domain.clock import DAY, SECOND


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    """Nothing given: the documented defaults."""
    assert load({}, {}) == Config()


def test_options_win_over_environment_over_file() -> None:
    """An option wins over its variable, and that over orch.yaml."""
    Path("orch.yaml").write_text("send_threads: 1\npoll_threads: 1\nmax_in_flight: 1\n")
    environment = {"ORCH_SEND_THREADS": "2", "ORCH_POLL_THREADS": "2"}
    found = load({"send_threads": "3", "poll_threads": None}, environment)
    assert (found.send_threads, found.poll_threads, found.max_in_flight) == (3, 2, 1)


def test_file_by_option_wins_over_the_variable_and_the_directory() -> None:
    """--config, else ORCH_CONFIG, else orch.yaml of the working directory; one of them only."""
    for name, number in (("orch.yaml", 1), ("b.yaml", 2), ("c.yaml", 3)):
        Path(name).write_text(f"send_threads: {number}\n")
    assert load({}, {}).send_threads == 1
    assert load({}, {"ORCH_CONFIG": "b.yaml"}).send_threads == 2
    assert load({}, {"ORCH_CONFIG": "b.yaml"}, Path("c.yaml")).send_threads == 3


def test_durations_are_text() -> None:
    """Durations are read as trigger files write them, from every source."""
    Path("orch.yaml").write_text("keep: 7d\n")
    found = load({"connect_timeout": "1500ms"}, {"ORCH_READ_TIMEOUT": "1m"})
    assert found.keep == 7 * DAY
    assert found.connect_timeout == 1.5 * SECOND
    assert found.read_timeout == 60 * SECOND


def test_an_empty_variable_is_none() -> None:
    """A variable that is set to nothing counts as not set."""
    assert load({}, {"ORCH_DATABASE": "", "ORCH_KEEP": ""}) == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("send_threds: 3\n", ["orch.yaml:1: send_threds", "unknown key", "'send_threads'"]),
        ("zzz: 3\n", ["unknown key", "known are data_dir"]),
        ("\nkeep: 30\n", ["orch.yaml:2: keep", "30 has no unit", "30d"]),
        ("keep: 30x\n", ["orch.yaml:1: keep", "not a duration"]),
        ("send_threads: many\n", ["orch.yaml:1: send_threads", "'many'", "integer"]),
        ("- a\n", ["orch.yaml", "a list"]),
        ("a: [\n", ["orch.yaml:", "not YAML"]),
        ("listen: nowhere\n", ["orch.yaml:1: listen", "HOST:PORT"]),
        ("bacalhau_password: hidden\n", ["bacalhau_user"]),
        ("announce: 127.0.0.1:1883\n", ["orch.yaml:1: announce", "mqtt://HOST:PORT"]),
        ("announce: mqtt://u:hidden@h\n", ["orch.yaml:1: announce", "holds a user or password"]),
        ("announce: mqtt://h\nannounce_password: hidden\n", ["announce_user"]),
        ("announce_user: u\n", ["orch.yaml:1: announce_user", "without announce"]),
        ("announce: mqtt://h\nannounce_ca: /ca\n", ["announce_ca", "write mqtts://"]),
        ("announce: mqtt://h\nannounce_keep: 10\n", ["orch.yaml:2: announce_keep", "no unit"]),
    ],
)
def test_a_bad_file_is_told_with_its_line(text: str, words: list[str]) -> None:
    """Problems of orch.yaml name its line, the value and the remedy."""
    Path("orch.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load({}, {})
    for word in words:
        assert word in str(error.value)
    assert "hidden" not in str(error.value)


def test_every_problem_is_told() -> None:
    """Problems of all sources come together, each with its place."""
    with pytest.raises(ConfigError) as error:
        load({"send_threads": "0"}, {"ORCH_POLL_THREADS": "x"})
    assert len(error.value.problems) == 2
    assert error.value.problems[0].startswith("--send-threads: '0'")
    assert error.value.problems[1].startswith("ORCH_POLL_THREADS: 'x'")


def test_secrets_have_no_option_and_are_not_shown() -> None:
    """Credentials come by variable or file, and no representation shows them."""
    found = load({}, {"ORCH_BACALHAU_TOKEN": "hush"})
    assert found.bacalhau_token == "hush"
    assert "hush" not in repr(found)
