"""Trigger files and plain jobs as values."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml

import specs

SETTINGS = {"cron": ("schedule", "every", "timezone")}
SECOND = 1_000_000

FULL = """\
apiVersion: orch/v1
kind: cron
name: nightly-report
description: every night
labels: {team: data}
schedule: "0 2 * * *"
timezone: Europe/Berlin
overlap: queue_one
catch_up: 1h
catch_up_limit: 3
timeout: 2m
queue_timeout: 20m
stop_grace: 5s
retry: {max_attempts: 3, max_age: 1h, backoff: {initial: 2s, max: 1m, factor: 3}}
on_dead: bisect
parallelism: 2
max_in_flight: 4
rate: 0.5
priority: -1
allow_shell_data: true
allow_static_secrets: true
paused: true
callbacks:
  on_success: {url: "https://example.org/done"}
  on_failure: [{trigger: cleanup}, {url: "http://127.0.0.1:1/x"}]
job:
  Type: batch
  Tasks: [{Name: main, Engine: {Type: docker, Params: {Image: x}}}]
"""


def parse(text: str, **options) -> specs.TriggerFile:
    """Read a trigger file."""
    return specs.parse_trigger(specs.load(text, file="t.yaml"), settings=SETTINGS.get, **options)


def test_every_policy():
    """Each policy of a file arrives with its value, times in microseconds."""
    trigger = parse(FULL)
    assert trigger.settings == {"schedule": "0 2 * * *", "timezone": "Europe/Berlin"}
    assert trigger.labels == {"team": "data"}
    assert trigger.policies == specs.Policies(
        overlap="queue_one",
        catch_up=3600 * SECOND,
        catch_up_limit=3,
        timeout=120 * SECOND,
        queue_timeout=1200 * SECOND,
        stop_grace=5 * SECOND,
        retry=specs.Retry(
            max_attempts=3,
            max_age=3600 * SECOND,
            initial=2 * SECOND,
            maximum=60 * SECOND,
            factor=3.0,
        ),
        on_dead="bisect",
        parallelism=2,
        max_in_flight=4,
        rate=0.5,
        priority=-1,
        allow_shell_data=True,
        allow_static_secrets=True,
        paused=True,
        on_success=(specs.Callback(url="https://example.org/done"),),
        on_failure=(
            specs.Callback(trigger="cleanup"),
            specs.Callback(url="http://127.0.0.1:1/x"),
        ),
    )


def test_defaults():
    """A file that says nothing gets the documented defaults."""
    policies = specs.Policies()
    assert (policies.timeout, policies.queue_timeout) == (300 * SECOND, 600 * SECOND)
    assert policies.stop_grace == 15 * SECOND
    assert policies.retry == specs.Retry(
        max_attempts=5, max_age=None, initial=SECOND, maximum=300 * SECOND, factor=2.0
    )
    assert (policies.overlap, policies.catch_up, policies.on_dead) == (None, None, None)


def test_round_trip():
    """What is exported reads back as the same trigger, also as YAML and JSON."""
    trigger = parse(FULL)
    data = trigger.to_json()
    assert data["timeout"] == "2m"
    assert data["catch_up"] == "1h"
    for again in (
        parse(json.dumps(data)),
        parse(yaml.safe_dump(data)),
        specs.parse_trigger(specs.from_data(data), settings=SETTINGS.get),
    ):
        assert again == trigger
        assert again.content_hash == trigger.content_hash


def test_catch_up_none():
    """`catch_up: none` is not the same as no word about it."""
    assert parse(FULL.replace("catch_up: 1h", "catch_up: none")).policies.catch_up == "none"


def test_hash_is_of_the_meaning():
    """Order, comments, quotes and stated defaults do not change the hash; meaning does."""
    base = "apiVersion: orch/v1\nkind: cron\nname: t\nevery: 15s\njob: {Type: batch, Tasks: []}\n"
    same = (
        "# hello\njob: {Tasks: [], Type: 'batch'}\nevery: '15s'\nname: t\nkind: cron\n"
        "apiVersion: orch/v1\ntimeout: 300s\noverlap: skip\n"
    )
    assert parse(base).content_hash != parse(same).content_hash
    assert parse(base).content_hash == parse(same.replace("overlap: skip\n", "")).content_hash
    assert parse(base).content_hash != parse(base.replace("15s", "16s")).content_hash


def test_job_dir_and_places_do_not_count():
    """Two readings of the same text are equal wherever they were read."""
    first = specs.parse_trigger(specs.load(FULL, file="a.yaml"), settings=SETTINGS.get)
    second = specs.parse_trigger(specs.load("\n" + FULL, file="b.yaml"), settings=SETTINGS.get)
    assert first == second


JOB = "Type: batch\nTasks:\n  - Name: main\n    Engine: {Type: docker, Params: {Image: x}}\n"


def wrap(text: str, **values) -> specs.TriggerFile:
    """Make a trigger of a plain job, as `--spec job.yaml` does."""
    document = specs.load(text, file="job.yaml")
    return specs.wrap_job(
        document, kind="cron", name="t", values={"every": "5s", **values}, settings=SETTINGS.get
    )


def test_plain_job():
    """A plain Bacalhau job becomes a trigger with the command line's settings and policies."""
    assert specs.is_job(specs.load(JOB))
    trigger = wrap(JOB, timeout="1m")
    assert trigger.settings == {"every": "5s"}
    assert trigger.policies.timeout == 60 * SECOND
    assert trigger.job["Type"] == "batch"


def test_problems_in_a_plain_job_point_into_its_file():
    """A mistake in a plain job is told with the job's own file, path and line."""
    trigger = wrap(JOB.replace("docker", "dokcer"))
    with pytest.raises(specs.SpecError, match=r"^job.yaml:4:14: Tasks\[0\].Engine.Type: unknown"):
        specs.prepare(trigger, base_dir=None)


def test_problems_of_options_point_to_the_command_line():
    """A mistake in an option is not blamed on the file."""
    with pytest.raises(specs.SpecError, match=r"^command line: timeout: '5 minutes' is not"):
        wrap(JOB, timeout="5 minutes")


def test_the_two_kinds_of_file_are_told_apart():
    """Each reader says what it was given instead."""
    assert not specs.is_job(specs.load(FULL))
    with pytest.raises(specs.SpecError, match="plain Bacalhau job"):
        parse(JOB)
    with pytest.raises(specs.SpecError, match="not a Bacalhau job"):
        wrap(FULL)


def test_options_win():
    """A document whose top-level keys were overridden is read with the new ones."""
    document = specs.load(FULL, file="t.yaml").override({"name": "other", "timeout": "7s"})
    trigger = specs.parse_trigger(document, settings=SETTINGS.get)
    assert (trigger.name, trigger.policies.timeout) == ("other", 7 * SECOND)
    with pytest.raises(specs.SpecError, match=r"^t.yaml: timeout: "):
        specs.parse_trigger(document.override({"timeout": "x"}), settings=SETTINGS.get)


@pytest.mark.parametrize(
    ("job", "policies", "expected"),
    [
        ("{}", "", (300, 600)),
        ("{ExecutionTimeout: 60}", "", (60, 600)),
        ("{ExecutionTimeout: 60}", "timeout: 1m", (60, 600)),
        ("{QueueTimeout: 30}", "", (300, 30)),
        ("{QueueTimeout: 30}", "queue_timeout: 1m", (300, 60)),
        ("{TotalTimeout: 400}", "", (300, 100)),
        ("{TotalTimeout: 100}", "", (100, 0)),
        ("{ExecutionTimeout: 60, TotalTimeout: 100}", "", (60, 40)),
        ("{ExecutionTimeout: 60, QueueTimeout: 30, TotalTimeout: 100}", "", (60, 40)),
        ("{TotalTimeout: 90}", "timeout: 1m", (60, 30)),
        ("{TotalTimeout: 90}", "timeout: 1m\nqueue_timeout: 30s", (60, 30)),
    ],
)
def test_timeouts_of_the_job(job, policies, expected):
    """A job's own timeouts are taken over where the trigger has none and agree where it has."""
    text = (
        f"apiVersion: orch/v1\nkind: cron\nname: t\nevery: 5s\n{policies}\njob:\n  Type: batch\n"
        f"  Tasks: [{{Name: m, Engine: {{Type: docker, Params: {{Image: x}}}}, Timeouts: {job}}}]\n"
    )
    trigger = parse(text)
    seconds = (trigger.policies.timeout // SECOND, trigger.policies.queue_timeout // SECOND)
    assert seconds == expected
    assert parse(json.dumps(trigger.to_json())).policies == trigger.policies
    rendered = specs.compile_template(specs.prepare(trigger, base_dir=None)).render(
        {},
        name="n",
        labels={},
        env={},
        timeouts=(
            trigger.policies.timeout,
            trigger.policies.timeout + trigger.policies.queue_timeout,
        ),
    )
    timeouts = json.loads(rendered.body)["Job"]["Tasks"][0]["Timeouts"]
    queue = timeouts.get("QueueTimeout", 0)
    assert timeouts["ExecutionTimeout"] + queue <= timeouts["TotalTimeout"] == sum(expected)


@pytest.mark.parametrize(
    ("job", "policies", "words"),
    [
        ("{ExecutionTimeout: 60}", "timeout: 2m", "ExecutionTimeout: contradicts .* 2m"),
        ("{QueueTimeout: 90}", "queue_timeout: 1m", "QueueTimeout: is longer .* 1m"),
        ("{TotalTimeout: 90}", "timeout: 2m", "TotalTimeout: is less"),
        ("{TotalTimeout: 90}", "queue_timeout: 1m", "TotalTimeout: contradicts"),
        ("{ExecutionTimeout: 9999999}", "", "30 days"),
    ],
)
def test_timeouts_that_contradict(job, policies, words):
    """A job's timeout that contradicts the trigger's is refused, with both named."""
    text = (
        f"apiVersion: orch/v1\nkind: cron\nname: t\nevery: 5s\n{policies}\njob:\n  Type: batch\n"
        f"  Tasks: [{{Name: m, Engine: {{Type: docker, Params: {{Image: x}}}}, Timeouts: {job}}}]\n"
    )
    with pytest.raises(specs.SpecError, match=words):
        parse(text)


def test_placeholders():
    """The placeholders of a job are listed with their places."""
    job = {"Meta": {"a": "${{ run.id }}-${{ event.x }}"}, "Tasks": [{"Env": {"A": "$${{ no }}"}}]}
    assert [(p.path, p.expression) for p in specs.placeholders(job)] == [
        (("Meta", "a"), "run.id"),
        (("Meta", "a"), "event.x"),
    ]


def test_values_cannot_be_changed():
    """What was read stays as it was read."""
    trigger = parse(FULL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        trigger.name = "other"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(dataclasses.FrozenInstanceError):
        trigger.policies.timeout = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("patterns", "path", "outside"),
    [
        ({"outside": ("event.*",)}, "event.a.b", True),
        ({"trusted": ("kafka.topic",)}, "kafka.topic", False),
        ({"trusted": ("kafka.topic",)}, "kafka.key", True),
        ({"trusted": ("kafka.*",), "outside": ("kafka.key",)}, "kafka.key", True),
        ({"outside": ("firing.key",)}, "firing.key", True),
        ({}, "firing.key", False),
        ({}, "unheard.of", True),
    ],
)
def test_what_comes_from_outside(patterns, path, outside):
    """A path is from outside where a connector says so, and where nobody says otherwise."""
    known = specs.BASE_PATHS.extended(**patterns)
    assert known.is_outside(tuple(path.split("."))) is outside
