"""The benchmarks work, at sizes whose figures mean nothing; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import cli, report
from tests.bench.processes import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One place for all: what its processes import is compiled once."""
    return Place(tmp_path_factory.mktemp("bench"), quick=True)


# Those that start a broker, a database or a daemon more than once.
_LARGE = {"jobs", "queues", "ranges", "streams", "tables"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.large) if name in _LARGE else name
        for name in cli.BENCHMARKS
    ],
)
def test_each_benchmark_yields_rows(name: str, place: Place) -> None:
    """Every benchmark ends by itself, yields figures, and removes the stores that it made."""
    rows = list(cli.benchmark(name)(place))
    assert rows
    assert len({row.what for row in rows}) == len(rows)
    for row in rows:
        assert row.orch > 0
        assert row.peer is None or row.peer > 0
        assert row.unit in {"/s", "ms", "s", "MB", "MB/s"}
        assert row.n
    assert not list(place.root.rglob("*.db"))


def test_command_writes_table_and_json(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says where it measured, shows every row, and writes the same to a file."""
    file = tmp_path / "figures.json"
    cli.main(["idle", "--quick", "--dir", str(place.root), "--json", str(file)])
    shown = capsys.readouterr().out
    assert "fsync" in shown
    assert "--quick: the figures mean nothing" in shown
    document = json.loads(file.read_text())
    assert {"cores", "fsync_ms", "python"} <= document["machine"].keys()
    assert [row["what"] for row in document["rows"]]
    for row in document["rows"]:
        assert row["what"].split(",")[0] in shown


def test_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no benchmark ends with what there is."""
    with pytest.raises(SystemExit):
        cli.main(["nothing"])
    assert "there are firing" in capsys.readouterr().err


def test_ratio_and_quantiles() -> None:
    """The ratio is orch's figure over the peer's; quantiles are values that were measured."""
    assert report.Row(what="a", unit="/s", orch=10, peer=4, n="1").ratio == 2.5
    assert report.Row(what="a", unit="/s", orch=10, n="1").ratio is None
    values = [float(v) for v in range(100)]
    assert report.quantile(values, 0.5) == 50
    assert report.quantile(values, 0.99) == 99
    assert report.quantile([7.0], 0.99) == 7
