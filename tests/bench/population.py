"""Stores filled with schedules: by the store's own registration, a few thousand a commit.

What registration by people costs (checking, HTTP) is measured elsewhere (`registration`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import specs
from connectors.registry import Registry
from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.operations.registration import PARTITION, Checked, Checker
from orchestrator.services.definitions import to_body
from orchestrator.store.database import Database, canonical, sqlite_url
from orchestrator.store.triggers import NewPartition, NewTrigger, Triggers, new_uid
from tests.bench.processes import Place

_A_COMMIT = 5000

JOB: Mapping[str, Any] = {
    "Type": "batch",
    "Tasks": [
        {
            "Name": "main",
            "Engine": {
                "Type": "docker",
                "Params": {
                    "Image": "busybox:1.36",
                    "Entrypoint": ["/bin/report"],
                    "Parameters": ["--time", "${{ firing.time }}"],
                },
            },
        }
    ],
}


class SetClock:
    """A wall clock that stands where it is set; waiting goes by the machine's."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return time.monotonic()


def group(
    prefix: str, count: int, first_due: int, *, variants: int = 1, **settings: Any
) -> dict[str, Any]:
    """Schedules that are alike, all due first at one instant, as `fill` takes them.

    Their definitions differ in `variants` ways, round robin; `settings` are keys of the trigger
    file.
    """
    return {
        "prefix": prefix,
        "count": count,
        "first_due": first_due,
        "variants": variants,
        "settings": settings,
    }


def document(name: str, **settings: Any) -> dict[str, Any]:
    """A trigger file."""
    return {"apiVersion": "orch/v1", "kind": "cron", "name": name, **settings, "job": JOB}


def populate(place: Place, data_dir: Path, groups: Sequence[Mapping[str, Any]]) -> float:
    """`fill` in a process of its own; returns its seconds."""
    return place.call(fill, data_dir=str(data_dir), groups=list(groups))["seconds"]


def fill(data_dir: str, groups: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Register groups of schedules in the store of a data directory."""
    begin = time.perf_counter()
    database = Database(sqlite_url(Path(data_dir)))
    try:
        triggers = Triggers(database)
        for one in groups:
            new = _new_triggers(**one)
            while chunk := list(islice(new, _A_COMMIT)):
                triggers.create(chunk, "bench")
    finally:
        database.close()
    return {"seconds": time.perf_counter() - begin}


def move(data_dir: str, moves: Mapping[str, int]) -> None:
    """Let schedules that are due first at one instant (the key) be due at another."""
    database = Database(sqlite_url(Path(data_dir)))
    try:
        for old, new in moves.items():
            database.write(
                lambda tx, old=old, new=new: tx.conn.exec_driver_sql(
                    "UPDATE partitions SET planned = ?, done = ?, base = ?, wake_at = ? "
                    "WHERE wake_at = ?",
                    (str(new), str(new), str(new), new, int(old)),
                ),
                "move",
            )
    finally:
        database.close()


def _new_triggers(
    prefix: str, count: int, first_due: int, variants: int, settings: Mapping[str, Any]
) -> Iterator[NewTrigger]:
    checked = _checked(prefix, settings)
    job = checked.job
    bodies = [_body(checked, variant) for variant in range(min(variants, count))]
    for index in range(count):
        digest, body = bodies[index % len(bodies)]
        yield NewTrigger(
            name=f"{prefix}-{index:07}",
            kind="cron",
            definition_hash=digest,
            definition=body,
            template_hash=checked.definition.template,
            job=job,
            uid=new_uid(),
            partitions=[NewPartition(name=PARTITION, planned=str(first_due), wake_at=first_due)],
        )


def _checked(prefix: str, settings: Mapping[str, Any]) -> Checked:
    checker = Checker(Registry.load())
    file = json.dumps(document(prefix, **settings))
    return checker.check(checker.parse(specs.load(file)), base_dir=None)


def _body(checked: Checked, variant: int) -> tuple[str, str]:
    policies = replace(checked.definition.policies, timeout=MINUTE + variant * SECOND)
    body = canonical(to_body(replace(checked.definition, policies=policies)))
    return hashlib.sha256(body.encode()).hexdigest()[:32], body
