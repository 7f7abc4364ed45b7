"""Rendering: values go in as values, never as structure; equal input gives equal bytes."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import specs

KNOWN = specs.BASE_PATHS.extended(
    outside=("event.*", "object.*"), trusted=("batch.count", "batch.uri")
)
VALUES = {
    "trigger": {"name": "nightly"},
    "firing": {"key": "2026-03-29T01:00:00Z", "time": "2026-03-29T01:00:00Z"},
    "run": {"id": "r1", "attempt": 2},
    "batch": {"count": 3, "uri": "s3://b/k"},
    "event": {"name": "x", "n": 5, "ok": True, "f": 1.5, "none": None, "list": [1, {"a": 2}]},
    "object": {"bucket": "logs", "key": "day/1.ndjson"},
    "secret": {"TOKEN": "s3cr3t"},
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def make_job(**task) -> dict:
    """A batch job with one docker task."""
    engine = {"Type": "docker", "Params": {"Image": "busybox:1"}}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine, **task}]}


def render(job: dict, values: dict = VALUES, **options) -> dict:
    """Render a job and return what the node would read."""
    settings = {"name": "orch-x", "labels": {}, "env": {}, "timeouts": (300_000_000, 900_000_000)}
    rendered = specs.compile_template(job, known=KNOWN).render(values, **{**settings, **options})
    return json.loads(rendered.body)["Job"]


def env_value(text: str, values: dict = VALUES) -> str:
    """What one Env value is rendered to."""
    return render(make_job(Env={"A": text}), values)["Tasks"][0]["Env"]["A"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${{ trigger.name }}", "nightly"),
        ("${{trigger.name}}", "nightly"),
        ("at ${{ firing.time }}!", "at 2026-03-29T01:00:00Z!"),
        ("${{ run.id }}/${{ run.attempt }}", "r1/2"),
        ("${{ event.n }}", "5"),
        ("${{ event.ok }}", "true"),
        ("${{ event.f }}", "1.5"),
        ("${{ event.list }}", '[1,{"a":2}]'),
        ("${{ event.list[1].a }}", "2"),
        ('${{ event["list"][0] }}', "1"),
        ("$${{ event.n }}", "${{ event.n }}"),
        ("$$${{ event.n }}", "$${{ event.n }}"),
        ("a $${{ b", "a ${{ b"),
        ("${{ secret.TOKEN }}", "s3cr3t"),
        ("env:HOME", "env:HOME"),
    ],
)
def test_text(text, value):
    """Where Bacalhau wants text, every value is written as text; `$${{` is a literal `${{`."""
    assert env_value(text) == value


def test_own_types():
    """A string that is one placeholder takes the value's type where a number or boolean belongs."""
    source = {
        "Type": "localDirectory",
        "Params": {"SourcePath": "/d", "ReadWrite": "${{ event.ok }}"},
    }
    job = make_job(InputSources=[{"Target": "/in", "Source": source}])
    job |= {"Count": "${{ batch.count }}", "Priority": "${{ event.n }}"}
    rendered = render(job)
    assert rendered["Count"] == 3
    assert rendered["Priority"] == 5
    assert rendered["Tasks"][0]["InputSources"][0]["Source"]["Params"]["ReadWrite"] is True


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"Count": "${{ event.name }}"}, "not a whole number"),
        ({"Count": "${{ event.ok }}"}, "not a whole number"),
        ({"Count": "${{ event.f }}"}, "not a whole number"),
        ({"Count": "${{ event.zero }}"}, "outside"),
        ({"Meta": {"a": "${{ event.gone }}"}}, "event has no 'gone'"),
        ({"Meta": {"a": "${{ event.none }}"}}, "event.none is null"),
        ({"Meta": {"a": "${{ event.name.deeper }}"}}, "event.name has no 'deeper'"),
        ({"Meta": {"a": "${{ event.list[9] }}"}}, "event.list has no '9'"),
        ({"Meta": {"a": "${{ event.nul }}"}}, "NUL"),
        ({"Meta": {"a": "${{ event.half }}"}}, "surrogate"),
        ({"Meta": {"a": "${{ event.bytes }}"}}, "cannot be text"),
    ],
)
def test_values_that_do_not_fit(job, words):
    """A value that is missing or of the wrong kind ends the run with a reason, not with a guess."""
    event = {**VALUES["event"], "zero": 0, "nul": "a\0b", "half": "\ud800", "bytes": b"x"}
    with pytest.raises(specs.RenderError) as caught:
        render({**make_job(), **job}, {**VALUES, "event": event})
    assert words in caught.value.reason


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("${{ event.a }}", "env:HOME"),
        ("${{ event.a }}", "env:"),
        ("e${{ event.a }}", "nv:HOME"),
        ("env${{ event.a }}", ":HOME"),
        ("env:${{ event.a }}", "HOME"),
        ("${{ event.b }}${{ event.a }}", "env:HOME"),
        ("${{ event.b }}env:${{ event.a }}", "HOME"),
        ("${{ event.a }}v:HOME", "en"),
        ("${{ event.b }}env:HOME", "x"),
    ],
)
def test_host_variables(text, event):
    """Data from outside never makes an Env value that begins with `env:`, however it is split."""
    values = {**VALUES, "event": {"a": event, "b": ""}}
    with pytest.raises(specs.RenderError, match="env:"):
        env_value(text, values)


def test_host_variables_of_our_own():
    """A firing's key may come from outside, so the orchestrator's variables are checked too."""
    with pytest.raises(specs.RenderError, match="ORCH_FIRING_KEY"):
        render(make_job(), env={"ORCH_FIRING_KEY": "env:HOME"})


@pytest.mark.parametrize("text", [" env:HOME", "ENV:HOME", "xenv:HOME", "envx"])
def test_values_that_only_look_alike(text):
    """The node replaces values that begin with exactly `env:`; others are taken."""
    assert env_value("${{ event.a }}", {**VALUES, "event": {"a": text}}) == text


def test_empty_variable():
    """The node refuses an empty variable, so a run that would have one is refused first."""
    with pytest.raises(specs.RenderError, match="empty"):
        env_value("${{ event.a }}", {**VALUES, "event": {"a": ""}})


def s3(key: str) -> dict:
    """A job that reads one object."""
    source = {"Type": "s3", "Params": {"Bucket": "b", "Key": key}}
    return make_job(InputSources=[{"Target": "/in", "Source": source}])


@pytest.mark.parametrize("key", ["day/*", "*", "a**"])
def test_keys_that_end_in_a_star(key):
    """An object's key that ends in * would be read as a prefix; it is refused."""
    values = {**VALUES, "object": {"key": key}}
    with pytest.raises(specs.RenderError, match="prefix"):
        render(s3("${{ object.key }}"), values)
    with pytest.raises(specs.RenderError, match="prefix"):
        render(s3("in/${{ object.key }}"), values)


def test_prefixes_of_the_file():
    """A prefix that the file itself asks for is one."""
    inputs = render(s3("${{ object.bucket }}/*"))["Tasks"][0]["InputSources"]
    assert inputs[0]["Source"]["Params"]["Key"] == "logs/*"


@pytest.mark.parametrize("key", ["../x", "a/../../x", ".."])
def test_paths_do_not_lead_upwards(key):
    """Data in a path cannot leave the directory that the file names."""
    job = make_job(
        InputSources=[
            {"Target": "/in/${{ object.key }}", "Source": {"Type": "ipfs", "Params": {"CID": "c"}}}
        ]
    )
    with pytest.raises(specs.RenderError, match="upwards"):
        render(job, {**VALUES, "object": {"key": key}})


def test_paths_stay_absolute():
    """A path that is data alone must be absolute."""
    job = s3("k")
    job["Tasks"][0]["InputSources"][0]["Target"] = "${{ object.key }}"
    with pytest.raises(specs.RenderError, match="absolute"):
        render(job)


@given(TEXT)
def test_data_url(text):
    """Data in a data: URL is encoded, so that it cannot become its header or another character."""
    url = "data:text/plain,${{ event.a }}"
    source = {"Type": "inline", "Params": {"URL": url}}
    job = make_job(InputSources=[{"Target": "/in", "Source": source}])
    got = render(job, {**VALUES, "event": {"a": text}})
    payload = got["Tasks"][0]["InputSources"][0]["Source"]["Params"]["URL"]
    assert unquote(payload.removeprefix("data:text/plain,")) == text


@given(TEXT, TEXT)
def test_data_changes_no_structure(first, second):
    """Whatever text comes from outside, only the strings that name it differ."""
    job = make_job(Meta={"a": "${{ event.a }}", "b": "x${{ event.b }}y"})
    job["Labels"] = {"l": "${{ event.a }}"}
    job["Tasks"][0]["Engine"]["Params"]["Parameters"] = ["${{ event.b }}", "fixed"]
    rendered = render(job, {**VALUES, "event": {"a": first, "b": second}})
    expected = copy.deepcopy(job)
    task = expected["Tasks"][0]
    task["Meta"] = {"a": first, "b": f"x{second}y"}
    task["Engine"]["Params"]["Parameters"] = [second, "fixed"]
    task |= {
        "Env": {},
        "InputSources": [],
        "Timeouts": {"ExecutionTimeout": 300, "TotalTimeout": 900},
    }
    expected["Name"] = "orch-x"
    expected["Labels"] = {"l": first, "orch.spec": rendered["Labels"]["orch.spec"]}
    assert rendered == expected


@given(TEXT)
def test_values_are_not_filled_again(text):
    """A value that looks like a placeholder stays what it is."""
    value = "${{ secret.TOKEN }}" + text
    got = render(make_job(Meta={"a": "${{ event.a }}"}), {**VALUES, "event": {"a": value}})
    assert got["Tasks"][0]["Meta"]["a"] == value


@given(TEXT | st.text("${} a.", max_size=20))
def test_escape_round_trip(text):
    """An escaped text is rendered as the text it was."""
    assert render(make_job(Meta={"a": specs.escape(text)}))["Tasks"][0]["Meta"]["a"] == text


def test_what_every_job_gets():
    """Name, labels, variables and timeouts are set; the job's own are kept beside them."""
    job = make_job(Env={"A": "1"}, Timeouts={"ExecutionTimeout": 9, "QueueTimeout": 7})
    job |= {"Labels": {"team": "x"}, "Name": "mine", "Namespace": "ns"}
    got = render(
        job,
        labels={"orch.run": "r1"},
        env={"ORCH_RUN_ID": "r1", "ORCH_EMPTY": ""},
        timeouts=(1_500_000, 2_000_000),
    )
    assert got["Name"] == "orch-x"
    assert got["Namespace"] == "ns"
    assert got["Labels"].keys() == {"team", "orch.run", "orch.spec"}
    assert got["Tasks"][0]["Env"] == {"A": "1", "ORCH_RUN_ID": "r1"}
    assert got["Tasks"][0]["Timeouts"] == {
        "ExecutionTimeout": 2,
        "QueueTimeout": 7,
        "TotalTimeout": 9,
    }


def test_namespace():
    """The answer names the namespace in which the job is found again."""
    settings = {"name": "n", "labels": {}, "env": {}, "timeouts": (1, 1)}
    assert specs.compile_template(make_job()).render({}, **settings).namespace == "default"
    template = specs.compile_template(make_job() | {"Namespace": "ns"})
    assert template.render({}, **settings).namespace == "ns"


def test_inline_inputs():
    """A batch comes as one more input source after the job's own."""
    batch = specs.InlineInput(
        target="/orch/batch.ndjson", data=b'{"m":1}\n', media_type="application/x-ndjson"
    )
    for job, count in ((make_job(), 1), (s3("k"), 2)):
        sources = render(job, inline_inputs=[batch])["Tasks"][0]["InputSources"]
        assert len(sources) == count
        assert sources[-1] == {
            "Target": "/orch/batch.ndjson",
            "Source": {
                "Type": "inline",
                "Params": {"URL": "data:application/x-ndjson;base64,eyJtIjoxfQo="},
            },
        }


@pytest.mark.parametrize("media_type", ["application/gzip", "text/plain;base64,", "", "a/b,c"])
def test_inline_media_types(media_type):
    """A media type cannot break out of the URL, and none makes the node unpack an archive."""
    with pytest.raises(specs.RenderError, match="media type"):
        render(
            make_job(),
            inline_inputs=[specs.InlineInput(target="/x", data=b"", media_type=media_type)],
        )


def test_inline_target_twice():
    """Two inputs never share a target."""
    item = specs.InlineInput(target="/in", data=b"")
    with pytest.raises(specs.RenderError, match="two inputs"):
        render(s3("k"), inline_inputs=[item])


def test_too_large():
    """A job above the limit is refused with its size, and the hard cap stands above any limit."""
    job = make_job(Meta={"a": "${{ event.a }}"})
    values = {**VALUES, "event": {"a": "ä" * 300_000}}
    with pytest.raises(specs.TooLargeError) as caught:
        render(job, values)
    assert caught.value.size > caught.value.limit == specs.MAX_SPEC
    assert len(render(job, values, max_bytes=specs.HARD_CAP)["Tasks"][0]["Meta"]["a"]) == 300_000
    with pytest.raises(specs.TooLargeError) as caught:
        render(job, {**VALUES, "event": {"a": "x" * 1_000_000}}, max_bytes=10_000_000)
    assert caught.value.limit == specs.HARD_CAP


def bytes_of(job: dict, values: dict = VALUES, **options) -> specs.Rendered:
    """The rendered bytes."""
    settings = {"name": "orch-x", "labels": {"l": "1"}, "env": {"E": "1"}, "timeouts": (1, 1)}
    return specs.compile_template(job, known=KNOWN).render(values, **{**settings, **options})


@given(st.randoms(use_true_random=False))
def test_order_does_not_matter(random):
    """Equal jobs give equal bytes, in whatever order their keys came."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    job = s3("${{ object.key }}") | {"Labels": {"b": "1", "a": "${{ run.id }}"}, "Priority": 1}
    job["Tasks"][0]["Env"] = {"B": "1", "A": "2"}
    assert bytes_of(shuffled(job), shuffled(VALUES)) == bytes_of(job)


def test_same_bytes_in_another_process():
    """Nothing random, such as the hashing of strings, gets into the bytes."""
    code = (
        "import specs; t = specs.compile_template({'Type': 'batch', 'Labels': {'a': '1', 'b': '2'},"
        "'Tasks': [{'Name': 'm', 'Env': {'X': '1', 'Y': '${{ run.id }}'}, 'Engine': {'Type':"
        "'docker', 'Params': {'Image': 'x'}}}]}); print(t.render({'run': {'id': 'r'}}, name='n',"
        "labels={'c': 'd'}, env={'E': 'f'}, timeouts=(1, 1)).body)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"labels": {"l": "2"}},
        {"env": {"E": "2"}},
        {"timeouts": (9_000_000, 9_000_000)},
        {"inline_inputs": [specs.InlineInput(target="/x", data=b"x")]},
        {"values": {**VALUES, "object": {"key": "other"}}},
        {"job": s3("fixed")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_spec_hash(change):
    """The hash names what is in the job: it is the same for the same, and differs otherwise."""
    job = s3("${{ object.key }}")
    first = bytes_of(job)
    assert first.spec_hash == bytes_of(job).spec_hash
    assert json.loads(first.body)["Job"]["Labels"]["orch.spec"] == first.spec_hash
    other = bytes_of(change.pop("job", job), change.pop("values", VALUES), **change)
    assert other.spec_hash != first.spec_hash


def test_reasons_hold_no_values():
    """What is logged about a refused run does not show its data or secrets."""
    values = {**VALUES, "event": {"a": "env:PASSWORD-OF-THE-NODE"}}
    with pytest.raises(specs.RenderError) as caught:
        env_value("${{ event.a }}", values)
    assert "PASSWORD" not in caught.value.reason


def test_compile_refuses_what_prepare_refuses():
    """A job that was never prepared is a mistake of the caller."""
    with pytest.raises(ValueError, match="Tasks is missing"):
        specs.compile_template({"Type": "batch"})
