"""`make soak`: streams, queues and files while daemon, broker and node are killed at random."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak import files, mqtt, queues, tables
from tests.soak.kafka import Plan, Soak
from tests.soak.modes import MODES
from tests.support.elasticmq import ElasticMq
from tests.support.kafka import Kafka

_DIR = "where data goes; what a failed soak leaves behind stays there"


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak the chosen modes, all by default; AssertionError where something was lost or twice."""
    options = _parser().parse_args(arguments)
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    options.dir.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=options.dir)).resolve()
    if options.source == "files":
        _files(options, seed, place)
    elif options.source == "queues":
        _queues(options, seed, place)
    elif options.source == "mqtt":
        _mqtt(options, seed, place)
    elif options.source == "tables":
        _tables(options, seed, place)
    else:
        _kafka(options, seed, place)
    shutil.rmtree(place)


def _files(options: argparse.Namespace, seed: int, place: Path) -> None:
    for way in options.way or files.WAYS:
        plan = files.Plan(
            way=way,
            seed=seed,
            lines=options.records,
            rotations=options.rotations,
            kills=files.Plan.kills if options.kills is None else options.kills,
            seconds=options.seconds,
        )
        _say(f"{plan}")
        result = files.Soak(plan, place / way, _say).run()
        _say(
            f"{way}: {result.lines:,} lines, each once, in {result.lives} lives and"
            f" {result.runs:,} runs, {result.attempts:,} attempts, audit ok,"
            f" {result.seconds:.0f} s"
        )


def _queues(options: argparse.Namespace, seed: int, place: Path) -> None:
    server = ElasticMq()
    try:
        plan = queues.Plan(
            seed=seed,
            messages=queues.Plan.messages if options.messages is None else options.messages,
            kills=queues.Plan.kills if options.kills is None else options.kills,
        )
        _say(f"{plan}")
        result = queues.Soak(plan, server, place / "queues", _say).run()
        _say(
            f"queues: {result.messages:,} messages in {result.runs:,} runs, {result.attempts:,}"
            f" attempts, {result.failed:,} of which failed, {result.dead:,} runs dead,"
            f" {result.twice:,} messages handled twice"
            f" ({100 * result.twice / result.messages:.2f} %), audit ok, {result.seconds:.0f} s"
        )
    finally:
        server.close()


def _mqtt(options: argparse.Namespace, seed: int, place: Path) -> None:
    plan = mqtt.Plan(
        seed=seed,
        messages=mqtt.Plan.messages if options.messages is None else options.messages,
        kills=mqtt.Plan.kills if options.kills is None else options.kills,
    )
    _say(f"{plan}")
    result = mqtt.Soak(plan, place / "mqtt", _say).run()
    _say(
        f"mqtt: {result.messages:,} messages in {result.runs:,} runs, {result.attempts:,} attempts,"
        f" {result.dead:,} runs dead, with an id each in one run, without one {result.twice:,} of"
        f" {plan.plain:,} in two, audit ok, {result.seconds:.0f} s"
    )


def _tables(options: argparse.Namespace, seed: int, place: Path) -> None:
    plan = tables.Plan(
        seed=seed,
        rows=options.rows,
        kills=tables.Plan.kills if options.kills is None else options.kills,
        database_kills=options.database_kills,
    )
    _say(f"{plan}")
    result = tables.Soak(plan, place / "tables", _say).run()
    _say(
        f"tables: {result.rows:,} rows, each in one run, in {result.runs:,} runs,"
        f" {result.attempts:,} attempts, rows agree with the ledger, audit ok,"
        f" {result.seconds:.0f} s"
    )


def _kafka(options: argparse.Namespace, seed: int, place: Path) -> None:
    kafka = Kafka.single()
    try:
        for mode in options.mode or MODES:
            plan = Plan(
                mode=mode,
                seed=seed,
                records=options.records,
                partitions=options.partitions,
                kills=Plan.kills if options.kills is None else options.kills,
                broker_restarts=options.broker_restarts,
                node_restarts=options.node_restarts,
                client=options.client,
            )
            _say(f"{plan}")
            result = Soak(plan, kafka, place / mode, _say).run()
            _say(
                f"{mode}: {result.produced:,} records in {result.runs:,} runs,"
                f" {result.attempts:,} attempts, counted {result.counted:,},"
                f" {result.repeats:,} repeats, audit ok, {result.seconds:.0f} s"
            )
    finally:
        kafka.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument(
        "source", choices=["kafka", "files", "queues", "mqtt", "tables"], help="what is soaked"
    )
    parser.add_argument("--mode", action="append", choices=MODES, help="default: one after another")
    parser.add_argument("--records", type=int, default=Plan.records, help="or lines")
    parser.add_argument("--messages", type=int, help="of queues: 100,000; of mqtt: 50,000")
    parser.add_argument("--rows", type=int, default=tables.Plan.rows, help="of a table")
    parser.add_argument("--database-kills", type=int, default=tables.Plan.database_kills)
    parser.add_argument("--partitions", type=int, default=Plan.partitions)
    parser.add_argument("--kills", type=int, help="of the daemon; files: 10, else 20")
    parser.add_argument("--broker-restarts", type=int, default=Plan.broker_restarts)
    parser.add_argument("--node-restarts", type=int, default=Plan.node_restarts)
    parser.add_argument("--client", choices=["kafka-python", "confluent"], default=Plan.client)
    parser.add_argument("--way", action="append", choices=files.WAYS, help="of rotating files")
    parser.add_argument("--rotations", type=int, default=files.Plan.rotations)
    parser.add_argument("--seconds", type=float, default=files.Plan.seconds, help="of writing")
    parser.add_argument("--seed", type=int, help="of what happens when; default: a new one")
    parser.add_argument("--dir", type=Path, default=Path(".orch/soak"), help=_DIR)
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
