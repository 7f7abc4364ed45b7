"""Addresses: the one that a topic's service has, and nothing that looks like it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sns.topics import Topic, parse
from tests.support.sns import ORIGIN, PATH, TOKEN, TOPIC

CHINA = "arn:aws-cn:sns:cn-north-1:123456789012:t"


def topic(arn: str = TOPIC, endpoint: str | None = None) -> Topic:
    """A topic whose ARN is right."""
    found = parse(arn, endpoint)
    assert found is not None
    return found


def test_addresses_of_aws():
    """The region's own host, by HTTPS; China has another domain."""
    assert topic().is_certificate(ORIGIN + PATH)
    assert topic(CHINA).is_certificate(f"https://sns.cn-north-1.amazonaws.com.cn{PATH}")
    assert topic().confirms(f"{ORIGIN}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t", "t")
    assert topic().confirms(topic().confirmation(TOKEN), TOKEN)


@pytest.mark.parametrize(
    "origin",
    [
        "http://sns.eu-central-1.amazonaws.com",
        "HTTPS://sns.eu-central-1.amazonaws.com",
        "https://sns.eu-west-1.amazonaws.com",
        "https://sns.amazonaws.com",
        "https://sns.evil.com",
        "https://sns.eu-central-1.amazonaws.com.evil.com",
        "https://sns.eu-central-1.amazonaws.com.cn",
        "https://sns.eu-central-1.amazonaws.com@evil.com",
        "https://evil.com@sns.eu-central-1.amazonaws.com",
        "https://user:pw@sns.eu-central-1.amazonaws.com",
        "https://sns.eu-central-1.amazonaws.com:443",
        "https://sns.eu-central-1.amazonaws.com:8443",
        "https://sns.eu-central-1.amazonaws.com:@evil.com",
        "https://sns.eu-central-1.amazonaws.com.",
        "https://sns.eu-central-1.amazonaws.com\\@evil.com",
        "https://sns.eu-central-1.amazonaws.com\n",
        "https://sns.eu-central-1.amazonaws.com\t",
        " https://sns.eu-central-1.amazonaws.com",
        "https:\\\\sns.eu-central-1.amazonaws.com",
        "https:sns.eu-central-1.amazonaws.com",
        "//sns.eu-central-1.amazonaws.com",
        "https://SNS.eu-central-1.amazonaws.com",
        "https://sns.eu-central-1.amazonaws.com/https://evil.com",
        "https://evil.com/https://sns.eu-central-1.amazonaws.com",
        "https://evil.com#https://sns.eu-central-1.amazonaws.com",
        "https://sns。eu-central-1。amazonaws。com",
        "https://ѕns.eu-central-1.amazonaws.com",
        "https://xn--ns-xjc.eu-central-1.amazonaws.com",
        "https://sns%2eeu-central-1.amazonaws.com",
        "https://[::1]",
        "https://[::ffff:169.254.169.254]",
        "https://[::1%25sns.eu-central-1.amazonaws.com]",
        "https://127.0.0.1",
        "https://169.254.169.254",
        "https://2130706433",
        "file://sns.eu-central-1.amazonaws.com",
        "https://s3.eu-central-1.amazonaws.com/sns.eu-central-1.amazonaws.com",
        "https://sns-eu-central-1.amazonaws.com",
        "https://sns.eu-central-1.amazonaws.com/..",
        "",
    ],
)
def test_no_other_origin_is_taken(origin: str):
    """Neither for certificates nor for confirmations."""
    assert not topic().is_certificate(origin + PATH)
    question = f"Action=ConfirmSubscription&TopicArn={quote(TOPIC)}&Token={TOKEN}"
    assert not topic().confirms(f"{origin}/?{question}", TOKEN)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/SimpleNotificationService-.pem",
        "/SimpleNotificationService-ab.pem\n",
        "/SimpleNotificationService-ab.pem?x=1",
        "/SimpleNotificationService-ab.pem#x",
        "/SimpleNotificationService-ab.pem/",
        "/SimpleNotificationService-ab.pem.txt",
        "/SimpleNotificationService-../../x.pem",
        "/SimpleNotificationService-a%2fb.pem",
        "/SimpleNotificationService-а.pem",
        "/x/SimpleNotificationService-ab.pem",
        "/simplenotificationservice-ab.pem",
        "/SimpleNotificationService-" + "a" * 65 + ".pem",
        "/?Action=ConfirmSubscription",
    ],
)
def test_no_other_path_is_a_certificate(path: str):
    """Only what SNS calls its certificates."""
    assert not topic().is_certificate(ORIGIN + path)


@pytest.mark.parametrize(
    "question",
    [
        "",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token=other",
        f"Action=Subscribe&TopicArn={TOPIC}&Token={TOKEN}",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}2&Token={TOKEN}",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}&Action=DeleteTopic",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}&Extra=1",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}#x",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}&",
        f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token=%FF",
        "&".join(f"a{n}=1" for n in range(100)),
        "Token=" + "t" * 5000,
    ],
)
def test_no_other_question_confirms(question: str):
    """What is asked is exactly one thing."""
    assert not topic().confirms(f"{ORIGIN}/?{question}", TOKEN)


def test_another_service_is_taken_only_where_it_is_named():
    """And then nothing of AWS is."""
    named = topic(endpoint="http://127.0.0.1:4566")
    assert named.is_certificate(f"http://127.0.0.1:4566{PATH}")
    assert not named.is_certificate(f"http://127.0.0.1:45661{PATH}")
    assert not named.is_certificate(ORIGIN + PATH)
    assert named.signers is None
    assert named.confirmation("t").startswith("http://127.0.0.1:4566/?Action=ConfirmSubscription")


def test_names_of_signers():
    """Those that AWS gives to its certificates in that region, and no others."""
    signers = topic().signers
    assert signers is not None
    assert {"sns.amazonaws.com", "sns-signing.eu-central-1.amazonaws.com"} <= signers
    assert "sns-signing.eu-west-1.amazonaws.com" not in signers
    china, gov = topic(CHINA).signers, topic("arn:aws-us-gov:sns:us-gov-east-1:123456789012:t")
    assert "sns-cn-north-1.amazonaws.com.cn" in (china or ())
    assert "sns.amazonaws.com" not in (china or ())
    assert "sns-us-gov-west-1.amazonaws.com" in (gov.signers or ())


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_sent_is_judged(url: str, token: str):
    """No text does anything but be taken or not."""
    assert not topic().is_certificate(url)
    assert not topic().is_certificate(ORIGIN + url)
    assert not topic().confirms(url, token)
    assert not topic().confirms(f"{ORIGIN}/?{url}", token)
    assert parse(url) is None
