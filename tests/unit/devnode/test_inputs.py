"""Input sources and host variables: what a node lets a task have."""

from __future__ import annotations

import base64
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode.executors import TaskFailed
from bacalhau_client.devnode.inputs import Inputs, clean_target, decoded, safe_name
from bacalhau_client.devnode.s3 import Access
from tests.unit.devnode.conftest import (
    Api,
    MakeNode,
    executions,
    output,
    shell_task,
    test_module,
    wasm_task,
)


def _local(path: Path | str, target: str = "/in", **params: Any) -> dict[str, Any]:
    source = {"Type": "localDirectory", "Params": {"SourcePath": str(path), **params}}
    return {"Target": target, "Source": source}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory that the node may read."""
    directory = tmp_path / "shared"
    directory.mkdir()
    (directory / "x.txt").write_text("1\n2\n")
    return directory


def test_local_directory_is_mounted(make_node: MakeNode, shared: Path) -> None:
    """An allowed directory, or one below it, for commands and for modules."""
    _, api = make_node(local_allow=(str(shared),))
    job = api.run("sh", shell_task("cat /in/x.txt", InputSources=[_local(shared)]))
    assert output(job)["Stdout"] == "1\n2\n"
    task = wasm_task(test_module("task"), "--count", "/in/x.txt", InputSources=[_local(shared)])
    assert executions(api.run("wasm", task)) == [(9, "Running", -1)]
    file = _local(shared / "x.txt", "/in/only.txt")
    task = wasm_task(test_module("task"), "--count", "/in/only.txt", InputSources=[file])
    assert executions(api.run("file", task)) == [(9, "Running", -1)]


def test_the_data_directory_may_be_relative(
    make_node: MakeNode, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands see their inputs where the node's directory is named as in `--data-dir node`."""
    monkeypatch.chdir(tmp_path)
    _, api = make_node(data_dir=Path("node"), local_allow=(str(shared),))
    job = api.run("sh", shell_task("cat /in/x.txt", InputSources=[_local(shared)]))
    assert output(job)["Stdout"] == "1\n2\n"


@pytest.mark.parametrize("writable", [True, False])
def test_writing_needs_permission(make_node: MakeNode, shared: Path, writable: bool) -> None:
    """ReadWrite works where the allow list says rw, and is refused elsewhere."""
    _, api = make_node(local_allow=(f"{shared}:rw" if writable else str(shared),))
    task = shell_task("echo 3 > /in/y.txt", InputSources=[_local(shared, ReadWrite=True)])
    state, message, code = executions(api.run("writes", task))[0]
    if writable:
        assert (state, code, (shared / "y.txt").read_text()) == (9, 0, "3\n")
    else:
        assert (state, "is not allowlisted" in message) == (10, True)


def test_the_allow_list_has_no_way_around_it(make_node: MakeNode, shared: Path) -> None:
    """Not by .., not by a link, not by a neighbour with a longer name, not by a relative path."""
    _, api = make_node(local_allow=(str(shared),))
    (shared / "link").symlink_to("/etc")
    neighbour = shared.with_name("shared-not")
    neighbour.mkdir()
    for number, path in enumerate([f"{shared}/..", f"{shared}/link", str(neighbour), "shared"]):
        job = api.run(f"way-{number}", shell_task("true", InputSources=[_local(path)]))
        assert "is not allowlisted" in executions(job)[0][1], path


def test_missing_local_path(make_node: MakeNode, shared: Path) -> None:
    """Allowed and not there."""
    _, api = make_node(local_allow=(str(shared),))
    job = api.run("gone", shell_task("true", InputSources=[_local(shared / "gone")]))
    assert "no such file" in executions(job)[0][1]


class _Files(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"1\n2\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def files() -> Iterator[str]:
    """A small web server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _url(url: str) -> dict[str, Any]:
    return {"Target": "/in", "Source": {"Type": "urlDownload", "Params": {"URL": url}}}


def test_url_download(api: Api, files: str) -> None:
    """The file lies under the target by its last name part."""
    task = shell_task("cat /in/data.txt", InputSources=[_url(f"{files}/a/data.txt?sig=x")])
    assert output(api.run("url", task))["Stdout"] == "1\n2\n"


@pytest.mark.parametrize("path", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", ""])
def test_urls_that_are_not_http(api: Api, path: str) -> None:
    """Nothing but HTTP is fetched."""
    job = api.run("scheme", shell_task("true", InputSources=[_url(path)]))
    assert "must begin with 'http' or 'https'" in executions(job)[0][1]


def test_redirects_to_files_are_not_followed(api: Api, files: str) -> None:
    """A server cannot send the node to its own files."""
    job = api.run("redirect", shell_task("true", InputSources=[_url(f"{files}/elsewhere")]))
    assert "giving up after 4 attempt(s)" in executions(job)[0][1]


def _data(url: str, target: str = "/in/x") -> dict[str, Any]:
    return {"Target": target, "Source": {"Type": "inline", "Params": {"URL": url}}}


def _archive(*names: str) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"hi"))
    return f"data:application/gzip;base64,{base64.b64encode(packed.getvalue()).decode()}"


def test_inline_archives_become_directories(api: Api) -> None:
    """A gzipped tar is unpacked at the target, as the node's own client sends directories."""
    task = shell_task("cat /in/x/a/b", InputSources=[_data(_archive("a/b"))])
    assert output(api.run("tar", task))["Stdout"] == "hi"


def test_archives_cannot_leave_their_place(api: Api, tmp_path: Path) -> None:
    """Names with .. are refused."""
    task = shell_task("true", InputSources=[_data(_archive("../../../../escaped"))])
    assert "failed to unpack inline input" in executions(api.run("slip", task))[0][1]
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:,a%20b", b"a b"),
        ("data:text/plain;charset=utf-8,x", b"x"),
        ("data:;base64,aGk=", b"hi"),
        ("data:;base64,-_-_", b"\xfb\xff\xbf"),
    ],
)
def test_data_urls(url: str, content: bytes) -> None:
    """Plain, percent-encoded and both alphabets of base64."""
    assert decoded(url)[1] == content


@pytest.mark.parametrize("url", ["", "data:", "data", "http://x/,", "data:;base64,abc"])
def test_bad_data_urls(url: str) -> None:
    """Told in the node's way: a failed execution, not a crash."""
    with pytest.raises(TaskFailed, match="failed to decode inline input"):
        decoded(url)


@pytest.mark.parametrize("key", ["", "a/", "a/..", "..", "a/\0"])
def test_keys_that_are_no_file_name(key: str) -> None:
    """An object's key cannot choose a place outside its target."""
    with pytest.raises(TaskFailed, match="does not end in a file's name"):
        safe_name(key)


def test_targets_are_made_absolute() -> None:
    """`..` cannot climb, and the root itself is no target."""
    assert clean_target("a/../../b") == "/b"
    with pytest.raises(TaskFailed, match="not a path below /"):
        clean_target("/..")


def test_host_variables(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:` values come from the host where the list allows the name, else the bid is refused."""
    monkeypatch.setenv("DEVNODE_PUBLIC", "from the host")
    monkeypatch.setenv("DEVNODE_SECRET", "hidden")
    _, api = make_node(env_allow=("^DEVNODE_PUBLIC$",))
    task = shell_task('echo "$X"', Env={"X": "env:DEVNODE_PUBLIC"})
    assert output(api.run("allowed", task))["Stdout"] == "from the host\n"
    job = api.run("refused", shell_task('echo "$X"', Env={"X": "env:DEVNODE_SECRET"}))
    state, message, _ = executions(job)[0]
    assert (state, "'DEVNODE_SECRET' is not in allowed patterns" in message) == (4, True)
    assert "hidden" not in str(job)


def test_commands_do_not_inherit_the_host_environment(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only PATH, HOME and what the task names."""
    monkeypatch.setenv("DEVNODE_SECRET", "hidden")
    job = api.run("env", shell_task("env | sed 's/=.*//' | sort", Env={"A": "1"}))
    names = set(output(job)["Stdout"].split()) - {"PWD", "OLDPWD", "SHLVL", "_"}
    assert names == {
        "A",
        "PATH",
        "HOME",
        *(f"BACALHAU_{name}" for name in ("JOB_ID", "EXECUTION_ID", "JOB_TYPE")),
        *(f"BACALHAU_PARTITION_{name}" for name in ("INDEX", "COUNT")),
    }


def test_allow_list_entries_with_modes(tmp_path: Path) -> None:
    """`:ro` and `:rw` are modes, other colons belong to the path."""
    odd = tmp_path / "a:b"
    odd.mkdir()
    inputs = Inputs((f"{odd}:ro",), Access({}), head_retry_wait=0)
    task = {"InputSources": [_local(odd)]}
    inputs.check(task)
    with pytest.raises(TaskFailed, match="not allowlisted"):
        inputs.check({"InputSources": [_local(odd, ReadWrite=True)]})
