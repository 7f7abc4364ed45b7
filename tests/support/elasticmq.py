"""A server that speaks SQS and keeps its queues in memory: ElasticMQ, for load and for order.

`python -m tests.support.elasticmq` starts one in the foreground, for trying things.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support import jars
from tests.support.kafkaprocess import free_port
from tests.support.waiting import until

_POM = Path(__file__).resolve().parents[2] / "scripts" / "elasticmq" / "pom.xml"
_JAVA = 11
_START = 120.0  # seconds; on an idle machine it takes two
_JVM = ("-Xms64m", "-Xmx1g", "-XX:+UseSerialGC")
_CONFIG = """\
include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-hostname = "127.0.0.1", bind-port = {port}, sqs-limits = strict }}
rest-stats {{ enabled = false }}
"""
REGION = "eu-central-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
_numbers = itertools.count(1)


class NoElasticMq(Exception):
    """There is no such server here; the text says why."""


def command() -> list[str]:
    """What starts it, but for its configuration."""
    try:
        given = os.environ.get("ORCH_TEST_ELASTICMQ_JARS")
        place = Path(given) if given else None
        if place is None:
            witness, instead = "elasticmq-server_2.13-*.jar", "ORCH_TEST_ELASTICMQ_JARS is"
            place = jars.fetched("elasticmq", _POM, witness, instead)
        return [jars.java(_JAVA), *_JVM, "-cp", f"{place}/*"]
    except jars.NoJars as error:
        raise NoElasticMq(str(error)) from error


class ElasticMq:
    """A server; `close` ends it, and its queues with it."""

    def __init__(self) -> None:
        start = command()
        self._directory = Path(tempfile.mkdtemp(prefix="orch-elasticmq-"))
        self._client: Any = None
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        config = self._directory / "elasticmq.conf"
        config.write_text(_CONFIG.format(port=port))
        self._log = self._directory / "log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*start, f"-Dconfig.file={config}", "org.elasticmq.server.Main"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(self._started, "ElasticMQ serves", within=_START, show=self.said)
        except BaseException:
            self.close()
            raise

    def _started(self) -> bool:
        if self._process.poll() is not None:
            raise NoElasticMq(f"it ended: {self.said()}")
        return "ElasticMQ server" in self.said() and ") started in" in self.said()

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]

    @property
    def client(self) -> Any:
        """boto3's client of it."""
        if self._client is None:
            from boto3.session import Session

            self._client = Session().client(
                "sqs",
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id="key",
                aws_secret_access_key="secret",
            )
        return self._client

    def queue(self, *, fifo: bool = False, **attributes: str) -> str:
        """Make a queue; returns its URL."""
        name = f"q{next(_numbers)}-{os.getpid()}" + (".fifo" if fifo else "")
        if fifo:
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        return str(self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def arn(self, url: str) -> str:
        """Its other name."""
        found = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])

    def send(self, url: str, bodies: Iterable[str], groups: Sequence[str] = ()) -> None:
        """Append messages, ten at a time; those of a FIFO queue go to the groups in turn."""
        numbered = enumerate(bodies)
        while ten := list(itertools.islice(numbered, 10)):
            entries: list[dict[str, str]] = []
            for number, body in ten:
                entry = {"Id": str(number), "MessageBody": body}
                if groups:
                    entry["MessageGroupId"] = groups[number % len(groups)]
                entries.append(entry)
            answer = self.client.send_message_batch(QueueUrl=url, Entries=entries)
            assert not answer.get("Failed")

    def left(self, url: str) -> tuple[int, int]:
        """How many messages wait, and how many are in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def close(self) -> None:
        """End it."""
        if self._client is not None:
            self._client.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="elasticmq", description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="only see to it that it could start")
    if parser.parse_args().fetch:
        print(*command())
        return
    server = ElasticMq()
    print(f"{server.endpoint} (region {REGION}, any credentials)", flush=True)
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        server.close()


if __name__ == "__main__":
    main()
