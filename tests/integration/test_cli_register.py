"""`orch register KIND` by itself: with a kind's own options and the default job of its library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.support.api import Api, serving
from tests.support.cli import orch

_QUEUE = "arn:aws:sqs:eu-central-1:123456789012:orders"
_TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"

_NOBODY = ["--endpoint", "http://127.0.0.1:9"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An orchestrator's API; where services of AWS would be there is nobody."""
    with serving(tmp_path_factory.mktemp("orch")) as api:
        yield api


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sqs", ["--queue", _QUEUE, *_NOBODY]),
        ("sns", ["--topics", _TOPIC, *_NOBODY]),
        ("sns", ["--topics", _TOPIC, "--via", "sqs", "--queue", "orders", "--subscribe", *_NOBODY]),
        ("s3", ["--bucket", "app-logs", "--prefix", "logs/", *_NOBODY]),
        ("file", ["--path", "/var/log/app/*.log"]),
        ("directory", ["--path", "/srv/incoming/*.csv"]),
        ("webhook", ["--signature", "none"]),
    ],
)
def test_a_kind_needs_no_spec(
    api: Api, kind: str, options: list[str], request: pytest.FixtureRequest
) -> None:
    """It is registered, its job is the library's, and what is left out has its default."""
    name = f"t{request.node.callspec.indices['kind']}"
    env = {"ORCH_URL": api.url}
    done = orch("register", kind, "--name", name, *options, env=env)
    assert done.code == 0, done.err
    shown = requests.get(f"{api.url}/api/v1/triggers/{name}", timeout=10).json()
    assert (shown["name"], shown["kind"]) == (name, kind)
    assert shown["document"]["job"]["Tasks"][0]["Name"]


NEEDED = {
    "sqs": "queue",
    "sns": "topics",
    "s3": "bucket",
    "file": "path",
    "directory": "path",
    "webhook": "signature",
}


@pytest.mark.parametrize("kind", NEEDED)
def test_what_a_kind_cannot_do_without_is_named(api: Api, kind: str) -> None:
    """A usage error, and nothing is registered."""
    done = orch("register", kind, "--name", f"bare-{kind}", env={"ORCH_URL": api.url})
    assert done.code == 2
    assert NEEDED[kind] in done.err
    url = f"{api.url}/api/v1/triggers/bare-{kind}"
    assert requests.get(url, timeout=10).status_code == 404
