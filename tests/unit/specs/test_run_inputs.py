"""Input sources that a run brings along: beside the job's own, never instead of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

import specs

S3 = {"Type": "s3", "Params": {"Bucket": "b", "Key": "t/0/batch.ndjson", "Region": "eu"}}
LOCAL = {"Type": "localDirectory", "Params": {"SourcePath": "/data/t/0/batch.ndjson"}}
IPFS = {"Type": "ipfs", "Params": {"CID": "bafy"}}
INLINE = {"Type": "inline", "Params": {"URL": "data:application/x-ndjson;base64,eyJtIjoxfQo="}}
URL = {"Type": "urlDownload", "Params": {"URL": "http://127.0.0.1/batch.ndjson"}}


def source(given: Any, target: Any = "/orch/batch.ndjson") -> dict[str, Any]:
    """An input source as a connector makes it."""
    return {"Source": given, "Target": target}


def render(inputs: list[Any], own: tuple[Any, ...] = (), **options: Any) -> specs.Rendered:
    """A job with its own input sources, rendered for a run that brings some."""
    engine = {"Type": "docker", "Params": {"Image": "busybox:1"}}
    task = {"Name": "main", "Engine": engine, "InputSources": [*own]}
    template = specs.compile_template({"Type": "batch", "Tasks": [task]})
    settings = {"name": "orch-x", "labels": {}, "env": {}, "timeouts": (1, 2)}
    values = {"trigger": {"name": "x/../in"}}
    return template.render(values, inputs=inputs, **{**settings, **options})


def sources(rendered: specs.Rendered) -> list[dict[str, Any]]:
    """The input sources that the node would read."""
    return json.loads(rendered.body)["Job"]["Tasks"][0]["InputSources"]


@pytest.mark.parametrize("given", [S3, LOCAL, IPFS, INLINE, URL], ids=lambda g: g["Type"])
def test_every_type_that_holds_a_batch(given: dict[str, Any]):
    """Each type goes to the node as the connector made it."""
    assert sources(render([source(given)])) == [source(given)]


def test_order():
    """The job's own come first, then the run's, then its inline data."""
    own = source({"Type": "s3", "Params": {"Bucket": "${{ trigger.name }}"}}, "/own")
    inline = specs.InlineInput(target="/c", data=b"x")
    got = sources(render([source(S3, "/a"), source(IPFS, "/b")], (own,), inline_inputs=[inline]))
    assert [item["Target"] for item in got] == ["/own", "/a", "/b", "/c"]


@pytest.mark.parametrize(
    ("own", "targets"),
    [
        ("/in", ["/in"]),
        ("/in/", ["/in"]),
        ("/in", ["/in/."]),
        ("/x//in", ["/x/in/"]),
        ("/own", ["/a", "/a"]),
        ("/own", ["/a", "/a/"]),
    ],
)
def test_one_target_twice(own: str, targets: list[str]):
    """Two inputs never share a place, however it is written."""
    with pytest.raises(specs.RenderError, match="two inputs have the target"):
        render([source(S3, target) for target in targets], (source(S3, own),))


def test_inline_data_at_the_place_of_an_input():
    """Inline data does not hide what the run brings."""
    inline = specs.InlineInput(target="/orch/batch.ndjson", data=b"x")
    with pytest.raises(specs.RenderError, match="two inputs"):
        render([source(S3)], inline_inputs=[inline])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (source(S3, "orch/batch"), "no absolute path"),
        (source(S3, ""), "no absolute path"),
        (source(S3, None), "no absolute path"),
        (source(S3, "/a\0b"), "no absolute path"),
        (source(S3, "/"), "no path below /"),
        (source(S3, "/a/../b"), "no path below /"),
        (source({"Type": "s3PreSigned", "Params": {}}), "of type 's3PreSigned'"),
        (source({"Type": "local", "Params": LOCAL["Params"]}), "of type 'local'"),
        (source({"Params": {}}), "of type None"),
        (source({**S3, "More": 1}), "with Type and Params"),
        ({**source(S3), "More": 1}, "with Type and Params"),
        ({"Target": "/a", "Source": "s3"}, "of type None"),
        (source({"Type": "s3", "Params": {"Bucket": "b", "Object": "k"}}), "does not know"),
        (source({"Type": "s3", "Params": []}), "does not know"),
        (source({"Type": "s3", "Params": {"Key": "k"}}), "lacks one of Bucket"),
        (source({"Type": "s3", "Params": {"Bucket": "b"}}), "one object by its key"),
        (source({"Type": "s3", "Params": {"Bucket": "b", "Key": "k/*"}}), "one object by its key"),
        (source({"Type": "ipfs", "Params": {"CID": ""}}), "lacks one of CID"),
        (source({"Type": "localDirectory", "Params": {"SourcePath": "data"}}), "no absolute path"),
        (source({"Type": "inline", "Params": {"URL": "http://a/b"}}), "no data: URL"),
        (
            source({"Type": "inline", "Params": {"URL": "data:application/gzip;base64,AA=="}}),
            "no media type",
        ),
    ],
)
def test_what_is_refused(item: dict[str, Any], words: str):
    """A wrong input ends the run with a reason; nothing is sent that the node would mangle."""
    with pytest.raises(specs.RenderError) as caught:
        render([item])
    assert words in caught.value.reason


def test_inputs_count_for_the_hash_and_the_size():
    """Other inputs are another spec, and large ones are too large like anything else."""
    one, other = render([source(S3)]), render([source(IPFS)])
    assert one.spec_hash != other.spec_hash
    assert one.spec_hash == render([source(S3)]).spec_hash
    big = {"Type": "inline", "Params": {"URL": "data:text/plain;base64," + "A" * 600_000}}
    with pytest.raises(specs.TooLargeError):
        render([source(big)])


def test_inputs_are_not_templates():
    """What a connector brings holds no placeholders: it goes in as it is."""
    given = {"Type": "s3", "Params": {"Bucket": "b", "Key": "${{ trigger.name }}/k"}}
    assert sources(render([source(given)])) == [source(given)]
