"""What a new trigger file of each kind says at first, and where its script finds its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ENDS = ("timeout: 5m # of one execution", "retry: {max_attempts: 3}")
_BATCH = "/orch/batch.ndjson"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The lines of a trigger file that are a kind's own.

    `settings` stand below the name, `env` are variables of the task, `events` says what the file
    of a run's events holds in each of its lines, where there is one. `change` names the settings
    that nobody can guess.
    """

    settings: tuple[str, ...]
    env: tuple[str, ...] = ()
    events: str = ""
    change: tuple[str, ...] = ()
    policies: tuple[str, ...] = _ENDS


KINDS: Mapping[str, Kind] = {
    "cron": Kind(
        settings=(
            'schedule: "0 2 * * *" # at two every night; or, instead of it, every: 15m',
            "timezone: UTC",
            "overlap: skip # a run that is due while the one before goes on is left out",
        ),
        change=("schedule",),
    ),
    "at": Kind(
        settings=('when: ["2199-01-01 09:00 Europe/Rome"]',),
        change=("when",),
    ),
    "job": Kind(
        settings=(
            "parameters: # a JSON Schema of what a request may give",
            "  properties:",
            "    subject: {type: string, maxLength: 100, default: world}",
        ),
        env=("SUBJECT: ${{ parameters.subject }}",),
        change=("parameters",),
    ),
    "service": Kind(
        settings=(
            "copies: 1",
            "life: 15m # of one job; the next one follows it",
            "heartbeat: none # a script that sends heartbeats says how often, such as 10s",
        ),
        policies=(),
    ),
    "kafka": Kind(
        settings=("brokers: [127.0.0.1:9092]", "topic: events", "mode: buffer"),
        events="record",
        change=("brokers", "topic"),
    ),
    "kinesis": Kind(
        settings=("stream: events", "region: eu-central-1", "mode: buffer"),
        events="record",
        change=("stream", "region"),
    ),
    "sqs": Kind(
        settings=("queue: events", "region: eu-central-1"),
        events="message",
        change=("queue", "region"),
    ),
    "sns": Kind(
        settings=("topics: [arn:aws:sns:eu-central-1:123456789012:events]",),
        events="notification",
        change=("topics",),
    ),
    "s3": Kind(
        settings=("bucket: incoming", "prefix: data/", "region: eu-central-1"),
        events="object",
        change=("bucket", "prefix", "region"),
    ),
    "mqtt": Kind(
        settings=("broker: mqtt://127.0.0.1:1883", "topic: events/#"),
        events="message",
        change=("broker", "topic"),
    ),
    "table": Kind(
        settings=("dsn: sqlite:////var/lib/app/jobs.db", "table: jobs"),
        events="row",
        change=("dsn", "table"),
    ),
    "webhook": Kind(
        settings=("signature: github", "secret: {secret: HOOK}"),
        events="request",
        change=("signature", "secret"),
    ),
    "file": Kind(
        settings=("path: /var/log/app/*.log",),
        events="line of the file",
        change=("path",),
    ),
    "directory": Kind(
        settings=("path: /srv/incoming/*.csv",),
        events="file",
        change=("path",),
    ),
}
"""Kinds of other packages are not here: their files begin with the common keys alone."""

OTHER = Kind(settings=(), policies=())


def about_events(kind: Kind) -> str:
    """A sentence on where a script finds its events; empty where it has none."""
    return f"{_BATCH} has a line of JSON for each {kind.events}" if kind.events else ""
