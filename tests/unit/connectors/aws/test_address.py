"""Which queue a text names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.abc import SettingsError
from connectors.aws.address import QueueAddress, parse_queue

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("orders", QueueAddress(name="orders")),
        ("orders.fifo", QueueAddress(name="orders.fifo")),
        (
            f"arn:aws:sqs:eu-central-1:{ACCOUNT}:orders",
            QueueAddress(name="orders", account=ACCOUNT, region="eu-central-1"),
        ),
        (
            f"arn:aws-cn:sqs:cn-north-1:{ACCOUNT}:o.fifo",
            QueueAddress(name="o.fifo", account=ACCOUNT, region="cn-north-1"),
        ),
    ],
)
def test_names_and_arns(text: str, wanted: QueueAddress) -> None:
    """An ARN tells account and region, a name neither."""
    assert parse_queue(text) == wanted


@pytest.mark.parametrize(
    ("host", "region", "endpoint"),
    [
        ("sqs.eu-central-1.amazonaws.com", "eu-central-1", None),
        ("eu-west-1.queue.amazonaws.com", "eu-west-1", None),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", None),
        ("sqs.eu-central-1.api.aws", "eu-central-1", None),
        (
            "vpce-0a1b.sqs.us-east-1.vpce.amazonaws.com",
            "us-east-1",
            "https://vpce-0a1b.sqs.us-east-1.vpce.amazonaws.com",
        ),
        ("mq.example:9324", None, "https://mq.example:9324"),
        ("sqs.eu-central-1.amazonaws.com.evil.example", None, None),
    ],
)
def test_urls(host: str, region: str | None, endpoint: str | None) -> None:
    """AWS's own hosts tell the region; others are where the queue is."""
    url = f"https://{host}/{ACCOUNT}/orders"
    found = parse_queue(url)
    assert (found.name, found.account, found.url) == ("orders", ACCOUNT, url)
    assert found.region == region
    assert found.endpoint == (f"https://{host}" if "evil" in host else endpoint)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "orders.other",
        ".fifo",
        "x" * 81,
        "orders\n",
        "arn:aws:sns:eu-central-1:123456789012:orders",
        "arn:aws:sqs:eu-central-1:12:orders",
        "ftp://host/orders",
        "http:///orders",
        "http://host",
        "http://host/1/orders?x=1",
        "http://host:0/orders",
        "http://host:99999/orders",
        "http://[::1/orders",
        "http://host/orders\u0000",
    ],
)
def test_what_names_no_queue_is_refused(text: str) -> None:
    """With a word about what to write."""
    with pytest.raises(SettingsError) as caught:
        parse_queue(text)
    assert caught.value.problems[0].remedy


def test_a_password_is_not_shown() -> None:
    """A URL may hold one; the error does not repeat it."""
    with pytest.raises(SettingsError) as caught:
        parse_queue("https://user:hunter2@host/orders")
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_queue_or_a_problem(text: str) -> None:
    """Nothing else is raised, and a name is one that SQS takes."""
    for written in (text, f"https://{text}/orders", f"https://host/{text}"):
        try:
            name = parse_queue(written).name
        except SettingsError:
            continue
        assert 1 <= len(name) <= 80
        assert name.isascii()
