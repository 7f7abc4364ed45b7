"""What a Kafka broker needs to run here: a Java, and the jars of the broker.

`python -m tests.support.kafkajars` fetches the jars and says where they are.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.support import jars

_POM = Path(__file__).resolve().parents[2] / "scripts" / "kafka" / "pom.xml"
_JAVA = 17  # the oldest that runs a broker 4.1


class NoKafka(Exception):
    """There is no broker and none can be started; the text says why."""


def java() -> str:
    """The path of a Java that runs a broker."""
    try:
        return jars.java(_JAVA)
    except jars.NoJars as error:
        raise NoKafka(str(error)) from error


def classpath() -> str:
    """The jars: those of ORCH_TEST_KAFKA_JARS or KAFKA_HOME, or fetched once with Maven."""
    for variable, below in (("ORCH_TEST_KAFKA_JARS", ""), ("KAFKA_HOME", "libs")):
        if given := os.environ.get(variable):
            place = Path(given) / below
            if not any(place.glob("kafka_2.13-*.jar")):
                raise NoKafka(f"{variable} is {given}, but no kafka_2.13-….jar is in {place}")
            return f"{place}/*"
    instead = "ORCH_TEST_KAFKA_JARS and KAFKA_HOME are"
    try:
        return f"{jars.fetched('kafka', _POM, 'kafka_2.13-*.jar', instead)}/*"
    except jars.NoJars as error:
        raise NoKafka(str(error)) from error


if __name__ == "__main__":
    print(f"{java()} {classpath()}")
