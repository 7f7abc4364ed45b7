"""Settings: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.sns import SnsConnector
from connectors.sns.settings import parse_settings

TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
QUEUE = {"via": "sqs", "queue": "q"}


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"topics": None}, "topics", "is not a list"),
        ({"topics": []}, "topics", "there are 0"),
        ({"topics": [TOPIC + str(n) for n in range(101)]}, "topics", "there are 101"),
        ({"topics": TOPIC}, "topics", "is not a list"),
        ({"topics": ["orders"]}, "topics[0]", "is no ARN of a topic"),
        ({"topics": [TOPIC, TOPIC + ":sub"]}, "topics[1]", "is no ARN of a topic"),
        ({"topics": [TOPIC.replace("sns", "sqs")]}, "topics[0]", "is no ARN of a topic"),
        ({"topics": [TOPIC.replace("eu-central-1", "*")]}, "topics[0]", "is no ARN of a topic"),
        ({"topics": [TOPIC.replace("eu-central-1", "evil.com/")]}, "topics[0]", "is no ARN"),
        ({"topics": [TOPIC + "\n"]}, "topics[0]", "is no ARN of a topic"),
        ({"topics": [TOPIC + ".fifo"]}, "topics[0]", "FIFO"),
        ({"via": "email"}, "via", "is not accepted"),
        ({"queue": "q"}, "queue", "does nothing with `via: http`"),
        ({"subscribe": True}, "subscribe", "does nothing with `via: http`"),
        ({"batch_size": 5}, "batch_size", "does nothing with `via: http`"),
        ({"via": "sqs"}, "queue", "is missing"),
        ({**QUEUE, "queue": "a b"}, "queue", "names no queue"),
        ({**QUEUE, "tolerance": "1h"}, "tolerance", "does nothing with `via: sqs`"),
        ({**QUEUE, "require_v2": True}, "require_v2", "does nothing with `via: sqs`"),
        ({**QUEUE, "subscribe": "yes please"}, "subscribe", "is not accepted"),
        ({**QUEUE, "raw": True, "topics": [TOPIC, TOPIC + "2"]}, "raw", "do not tell"),
        ({**QUEUE, "raw": 7}, "raw", "is not accepted"),
        ({**QUEUE, "queue": "q.fifo"}, "topics[0]", "takes nothing from a topic that is not"),
        ({**QUEUE, "batch_size": 0}, "batch_size", "not within"),
        ({**QUEUE, "batch_window": "2h"}, "batch_window", "too long"),
        ({**QUEUE, "max_pollers": 33}, "max_pollers", "not within"),
        ({"topics": [TOPIC, TOPIC]}, "topics[1]", "twice"),
        ({"endpoint": "127.0.0.1:4566"}, "endpoint", "not an address"),
        ({"endpoint": "http://user@127.0.0.1"}, "endpoint", "user or password"),
        ({"endpoint": "http://127.0.0.1/sns"}, "endpoint", "more than an address"),
        ({"endpoint": "http://exämple.com"}, "endpoint", "more than an address"),
        ({"body": "xml"}, "body", "'xml' is not accepted"),
        ({"attributes": "some"}, "attributes", "is not accepted"),
        ({"require_v2": 2}, "require_v2", "is not accepted"),
        ({"tolerance": "1s"}, "tolerance", "too short"),
        ({"tolerance": "8d"}, "tolerance", "too long"),
        ({"tolerance": "1d"}, "dedup_window", "could come again"),
        ({"dedup_window": "1h"}, "dedup_window", "could come again"),
        ({"dedup_window": "60d"}, "dedup_window", "too long"),
        ({"storage": "bucket"}, "storage", "not an address"),
        ({"keep": "1h"}, "keep", "does nothing"),
        ({"keep": 5, "storage": "/srv"}, "keep", "no unit"),
        ({"topic": TOPIC}, "topic", "unknown setting"),
    ],
)
def test_a_bad_setting_is_told_with_its_place(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy."""
    with pytest.raises(SettingsError) as caught:
        SnsConnector().check({"topics": [TOPIC], **settings})
    problem = caught.value.problems[0]
    assert (problem.path, words in problem.message) == (path, True), problem
    assert problem.remedy


def test_topics_are_required():
    """There is no list that means all."""
    with pytest.raises(SettingsError, match="topics: is missing"):
        parse_settings({})


def test_the_queue_identifies_a_trigger():
    """Another queue needs a reset; how it is written makes no difference."""
    connector = SnsConnector()
    arn = "arn:aws:sqs:eu-central-1:123456789012:q"
    by_name = connector.identity({"topics": [TOPIC], **QUEUE})
    assert by_name == connector.identity({"topics": [TOPIC], **QUEUE, "queue": arn})
    assert by_name != connector.identity({"topics": [TOPIC], **QUEUE, "queue": "other"})
    assert parse_settings({"topics": [TOPIC], **QUEUE}).region == "eu-central-1"


def test_a_change_of_the_list_goes_without_a_reset():
    """Nothing points into what a topic brings."""
    connector = SnsConnector()
    assert connector.identity({"topics": [TOPIC]}) == connector.identity({"topics": [TOPIC + "2"]})
