"""`orch image`: what docker and podman are asked, and what the trigger file says afterwards.

No engine is at work here: `tests/support/fakedocker.py` stands for both. It notes its arguments and
answers as they do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Done, orch
from tests.support.fakedocker import FakeEngines, digest_of, install

_REPOSITORY = "registry.example/team/report"


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Path("report.py").write_text("print('report')\n")
    assert orch("new", "--from", "report.py", "--image", _REPOSITORY).code == 0


@pytest.fixture
def engines(tmp_path: Path) -> FakeEngines:
    """Both of them."""
    return install(tmp_path / "engines", "docker", "podman")


def _image(engines: FakeEngines, *args: str) -> Done:
    return orch("image", *args, env={"PATH": str(engines.directory)})


def _named(file: str = "report.yaml") -> str:
    (line,) = [line for line in Path(file).read_text().splitlines() if " Image:" in line]
    return line.split()[1]


def _names(repository: str) -> None:
    text = Path("report.yaml").read_text()
    Path("report.yaml").write_text(text.replace(f"Image: {_named()}", f"Image: {repository}"))


def test_build_writes_the_tag_of_the_content(engines: FakeEngines) -> None:
    """The engine builds the directory; the file names the result, its comments stay."""
    before = Path("report.yaml").read_text()
    done = _image(engines, "build", "report.yaml")
    assert done.code == 0, done.err
    image = _named()
    repository, _, tag = image.rpartition(":")
    assert (repository, len(tag)) == (_REPOSITORY, 16)
    assert engines.calls == [["docker", "build", "--tag", image, "--file", "Dockerfile", "."]]
    assert Path("report.yaml").read_text() == before.replace(f"{_REPOSITORY} #", f"{image} #")
    assert done.out.splitlines() == [
        f"report.yaml:20: Image: {image}",
        "next:",
        "  orch image push report.yaml # unless the nodes use this engine",
        "  orch apply -f report.yaml",
    ]
    assert orch("validate", "-f", "report.yaml").code == 0


def test_push_writes_the_digest(engines: FakeEngines) -> None:
    """What is at hand is pushed as it is; the file pins it by the digest of the registry."""
    _image(engines, "build", "report.yaml")
    built = _named()
    done = _image(engines, "push", "report.yaml", "--json")
    assert done.code == 0, done.err
    assert _named() == f"{built}@{digest_of(built)}"
    assert [call[1] for call in engines.calls] == ["build", "image", "push"]
    assert engines.calls[-1] == ["docker", "push", built]
    assert done.json == {
        "file": "report.yaml",
        "line": 20,
        "image": f"{built}@{digest_of(built)}",
        "tag": built.rpartition(":")[2],
        "digest": digest_of(built),
        "engine": "docker",
        "changed": True,
        "next": ["orch apply -f report.yaml"],
    }
    assert "digest: sha256:" in done.err, "what the engine says goes to standard error"
    assert orch("validate", "-f", "report.yaml").code == 0


def test_pushing_what_was_not_built_builds_it(engines: FakeEngines) -> None:
    """Also where a build was made of older content."""
    _image(engines, "build", "report.yaml")
    older = _named()
    Path("report.py").write_text("print('changed')\n")
    assert _image(engines, "push", "report.yaml").code == 0
    assert [call[1] for call in engines.calls] == ["build", "image", "build", "push"]
    assert _named().partition("@")[0] != older


def test_doing_it_again_changes_nothing(engines: FakeEngines) -> None:
    """The same content has the same name, and a digest that is known stays."""
    _image(engines, "push", "report.yaml")
    pushed = Path("report.yaml").read_text()
    for word in ("push", "build"):
        done = _image(engines, word, "report.yaml")
        assert done.code == 0, done.err
        assert done.out.startswith(f"report.yaml:20: is {_named()} already\n")
        assert Path("report.yaml").read_text() == pushed


def test_podman_says_its_digest_in_a_file(engines: FakeEngines, tmp_path: Path) -> None:
    """--engine chooses; where docker is missing podman is taken by itself."""
    assert _image(engines, "push", "report.yaml", "--engine", "podman").code == 0
    image = _named()
    assert image.endswith("@" + digest_of(image.partition("@")[0]))
    assert engines.calls[-1][:3] == ["podman", "push", "--digestfile"]
    alone = install(tmp_path / "alone", "podman")
    assert _image(alone, "build", "report.yaml").code == 0
    assert alone.calls[0][0] == "podman"


def test_other_places_and_platforms(engines: FakeEngines) -> None:
    """--context, --dockerfile and --platform reach the engine; a platform has its own tag."""
    Path("sub").mkdir()
    Path("sub/Other").write_text("FROM x\n")
    _image(engines, "build", "report.yaml", "--context", "sub", "--dockerfile", "sub/Other")
    first = _named()
    assert engines.calls[-1] == ["docker", "build", "--tag", first, "--file", "sub/Other", "sub"]
    args = ("--context", "sub", "--dockerfile", "sub/Other", "--platform", "linux/arm64")
    _image(engines, "build", "report.yaml", *args)
    assert engines.calls[-1][-3:] == ["--platform", "linux/arm64", "sub"]
    assert _named() != first


def test_without_an_engine(tmp_path: Path) -> None:
    """The remedy is said, and the file stays as it was."""
    none = install(tmp_path / "none")
    before = Path("report.yaml").read_text()
    for args in (("build", "report.yaml"), ("push", "report.yaml")):
        done = orch("image", *args, env={"PATH": str(none.directory)})
        assert done.code == 1
        assert "neither docker nor podman is installed here" in done.err
    done = orch("image", "build", "report.yaml", "--engine", "podman", env={"PATH": ""})
    assert "podman is not installed here" in done.err
    assert Path("report.yaml").read_text() == before


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("refused.example/a/b", "denied: requested access to the resource is denied"),
        ("refused.example/a/b", "`docker login refused.example`"),
        ("report", "names no registry to push to"),
        ("silent.example/a/b", "did not say its digest"),
    ],
)
def test_a_push_that_comes_to_nothing(engines: FakeEngines, repository: str, said: str) -> None:
    """What the registry said and what to do; the file still names what it did."""
    _names(repository)
    done = _image(engines, "push", "report.yaml")
    assert done.code == 1
    assert said in done.err
    assert _named() == repository


def test_a_build_that_fails(engines: FakeEngines) -> None:
    """The engine's last words and its exit code are in the error."""
    with Path("Dockerfile").open("a") as file:
        file.write("RUN false\n")
    done = _image(engines, "build", "report.yaml")
    assert done.code == 1
    assert "orch: docker could not build .: exit 1: process" in done.err
    assert _named() == _REPOSITORY


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("build", "none.yaml"), 1, "none.yaml: no such file"),
        (("build", "bare.yaml"), 1, "bare.yaml names no image"),
        (("push", "bad.yaml"), 1, "bad.yaml:2:1: not YAML"),
        (("build", "odd.yaml"), 1, "odd.yaml:4: 'Not An Image' is not the name of an image"),
        (("build", "report.yaml", "--engine", "kaniko"), 2, "write docker or podman"),
        (("build", "report.yaml", "--platform", "--rm"), 2, "--platform: '--rm' is none"),
        (("build", "report.yaml", "--context", "none"), 1, "none is no directory"),
        (("build", "report.yaml", "--dockerfile", "none"), 1, "none is not there"),
    ],
)
def test_what_cannot_be_built(
    engines: FakeEngines, args: tuple[str, ...], code: int, said: str
) -> None:
    """Told before any engine is asked."""
    Path("bare.yaml").write_text("apiVersion: orch/v1\nkind: cron\nname: t\nevery: 5m\n")
    Path("bad.yaml").write_text("a: [\n")
    Path("odd.yaml").write_text(
        "Type: batch\nTasks:\n  - Name: a\n"
        "    Engine: {Type: docker, Params: {Image: Not An Image}}\n"
    )
    done = _image(engines, *args)
    assert done.code == code
    assert said in done.err
    assert engines.calls == []
