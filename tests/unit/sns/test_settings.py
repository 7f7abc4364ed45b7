"""Settings: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.sns import SnsConnector
from connectors.sns.settings import parse_settings

TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"


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


def test_a_change_of_the_list_goes_without_a_reset():
    """Nothing points into what a topic brings."""
    connector = SnsConnector()
    assert connector.identity({"topics": [TOPIC]}) == connector.identity({"topics": [TOPIC + "2"]})
