"""What SNS posts, and what others post in its name."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from connectors import outbound
from connectors.outbound import NoAnswer
from connectors.push import PushRefused, PushRequest, Receiver
from connectors.sns import SnsConnector
from connectors.sns.certificates import Certificates
from connectors.sns.receiver import SnsReceiver
from connectors.sns.settings import parse_settings
from connectors.streams import SourceContext
from tests.support.sns import NOW, ORIGIN, PATH, TIME, TOKEN, TOPIC, Signer, posted

CONTEXT = SourceContext(
    instance="i",
    trigger="orders",
    trigger_uid="u1",
    secrets={},
    data_dir=Path("/nonexistent"),
    stop=threading.Event(),
)


@pytest.fixture(scope="module")
def signer() -> Signer:
    """SNS itself."""
    return Signer()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that were asked for, beside those of certificates."""
    asked: list[str] = []

    def get(url: str, *, limit: int, timeout: float, allow_private: bool) -> bytes:
        assert not allow_private
        assert limit <= 65_536
        assert timeout <= 10
        asked.append(url)
        if "fails" in url:
            raise NoAnswer("no", status=500)
        return b"<ConfirmSubscriptionResponse/>"

    monkeypatch.setattr(outbound, "get", get)
    return asked


def receiver(signer: Signer, **settings: Any) -> Receiver:
    """One that gets the certificate of the signer."""
    given = parse_settings({"topics": [TOPIC], **settings})
    return SnsReceiver(given, CONTEXT, Certificates(lambda _: signer.pem))


def refusal(opened: Receiver, request: PushRequest) -> PushRefused:
    """The refusal of a request that must be refused."""
    with pytest.raises(PushRefused) as caught:
        opened.receive(request)
    return caught.value


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["An order", None])
def test_a_notification_is_an_event(signer: Signer, version: str, subject: str | None):
    """Both versions of signatures; answered with 200, because SNS wants to hear that."""
    taken = receiver(signer).receive(posted(signer.envelope(version, Subject=subject)))
    (message,) = taken.messages
    assert taken.status == 200
    assert message.id == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    assert message.at == NOW * 10**6
    assert message.body == {
        "id": message.id,
        "topic": TOPIC,
        "subject": subject or "",
        "body": '{"order": 7,\n "text": "é"}',
        "sent_at": "2025-06-15T15:06:40Z",
    }


def test_messages_that_are_json_are_read_if_asked(signer: Signer):
    """Others stay text."""
    opened = receiver(signer, body="json")
    read = opened.receive(posted(signer.envelope())).messages[0].body
    assert read["body"] == {"order": 7, "text": "é"}
    for text in ("plain", "[NaN]", "[" * 1000, '{"a":1,"a":2}'):
        envelope = signer.envelope(Message=text)
        assert opened.receive(posted(envelope)).messages[0].body["body"] == text


def test_attributes_are_handed_on_only_if_asked(signer: Signer):
    """They are not part of what is signed."""
    attributes = {"kind": {"Type": "String", "Value": "new"}}
    envelope = signer.envelope(MessageAttributes=attributes)
    assert "attributes" not in receiver(signer).receive(posted(envelope)).messages[0].body
    asked = receiver(signer, attributes=True).receive(posted(envelope)).messages[0].body
    assert asked["attributes"] == {"kind": "new"}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "changed",
    [
        {"Message": '{"order": 8,\n "text": "é"}'},
        {"Message": ""},
        {"MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325"},
        {"Subject": "Another"},
        {"Subject": None},
        {"Timestamp": "2025-06-15T15:06:40.001Z"},
        {"TopicArn": TOPIC + "2"},
        {"SignatureVersion": "other"},
        {"SignatureVersion": "3"},
        {"Signature": ""},
        {"Signature": "AAAA"},
        {"Signature": "not base64!"},
    ],
)
def test_whatever_is_signed_cannot_be_altered(signer: Signer, version: str, changed: Any):
    """Each field; also to another topic of the list, and to the other version."""
    if changed.get("SignatureVersion") == "other":
        changed = {"SignatureVersion": "2" if version == "1" else "1"}
    envelope = {**signer.envelope(version), **changed}
    envelope = {name: value for name, value in envelope.items() if value is not None}
    opened = receiver(signer, topics=[TOPIC, TOPIC + "2"])
    assert refusal(opened, posted(envelope)).status == 403


def test_a_confirmation_cannot_be_altered(signer: Signer, fetched: list[str]):
    """Nor a notification be made one: nothing is asked for."""
    opened = receiver(signer)
    other = TOKEN.replace("2336", "9999")
    url = f"{ORIGIN}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={other}"
    for changed in (
        {"Token": other},
        {"SubscribeURL": url},
        {"Token": other, "SubscribeURL": url},
        {"Type": "UnsubscribeConfirmation"},
        {"Message": "x"},
    ):
        envelope = {**signer.confirmation(), **changed}
        assert refusal(opened, posted(envelope)).status == 403
    notification = {**signer.confirmation(), **signer.envelope(Subject=None)}
    notification["Type"] = "SubscriptionConfirmation"
    assert refusal(opened, posted(notification)).status == 403
    assert not fetched


def test_somebody_elses_signature_is_refused(signer: Signer):
    """Signed well, by another key."""
    assert refusal(receiver(signer), posted(Signer().envelope())).status == 403


@pytest.mark.parametrize("seconds", [2 * 3600 + 1, 86_400, -301])
def test_a_replay_out_of_its_time_is_refused(signer: Signer, seconds: int):
    """And so is what was signed for later; within it, the id is the same."""
    opened = receiver(signer)
    refused = refusal(opened, posted(signer.envelope(), at=NOW + seconds))
    assert (refused.status, "Timestamp" in refused.reason) == (403, True)
    inside = [opened.receive(posted(signer.envelope(), at=NOW + at)) for at in (0, 7200)]
    assert len({taken.messages[0].id for taken in inside}) == 1


def test_topics_that_are_not_on_the_list_are_refused_before_anything_is_fetched(signer: Signer):
    """Signed by SNS as they may be."""
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return signer.pem

    opened = SnsReceiver(parse_settings({"topics": [TOPIC]}), CONTEXT, Certificates(fetch))
    for arn in (TOPIC + "x", TOPIC.replace("123456789012", "999999999999"), "", "*"):
        envelope = signer.envelope(TopicArn=arn)
        assert refusal(opened, posted(envelope)).status == 403
    assert not asked


@pytest.mark.parametrize(
    "url",
    [
        f"http://sns.eu-central-1.amazonaws.com{PATH}",
        f"https://sns.evil.com{PATH}",
        f"https://sns.eu-central-1.amazonaws.com.evil.com{PATH}",
        f"https://sns.eu-central-1.amazonaws.com@evil.com{PATH}",
        f"https://sns.eu-central-1.amazonaws.com:443{PATH}",
        f"https://sns.eu-central-1.amazonaws.com.{PATH}",
        f"https://[::1]{PATH}",
        f"https://sns.eu-west-1.amazonaws.com{PATH}",
        f"{ORIGIN}/x.pem",
    ],
)
def test_a_certificate_of_another_host_is_refused(signer: Signer, url: str):
    """However well the message is signed with it."""
    assert refusal(receiver(signer), posted(signer.envelope(SigningCertURL=url))).status == 403


def test_a_certificate_that_cannot_be_had_now_is_tried_again(signer: Signer):
    """SNS tries again after a 503, and not after a 403."""
    for status, expected in ((None, 503), (500, 503), (404, 403)):
        error = NoAnswer("no", status=status)

        def fetch(_: str, error: NoAnswer = error) -> bytes:
            raise error

        opened = SnsReceiver(parse_settings({"topics": [TOPIC]}), CONTEXT, Certificates(fetch))
        assert refusal(opened, posted(signer.envelope())).status == expected


def test_version_1_may_be_refused(signer: Signer):
    """Its signatures are made with SHA-1."""
    opened = receiver(signer, require_v2=True)
    assert refusal(opened, posted(signer.envelope("1"))).status == 403
    assert opened.receive(posted(signer.envelope("2"))).messages


def test_raw_messages_are_refused(signer: Signer):
    """Nobody can tell who wrote them; the answer says what to do."""
    refused = refusal(receiver(signer), posted(b"hello", x_amz_sns_rawdelivery="true"))
    assert (refused.status, "RawMessageDelivery" in refused.reason) == (403, True)


def test_header_and_body_have_to_agree(signer: Signer):
    """One reader must not see a notification where another sees a confirmation."""
    opened = receiver(signer)
    for kind in ("SubscriptionConfirmation", "", "notification"):
        wrong = posted(signer.envelope(), x_amz_sns_message_type=kind)
        assert refusal(opened, wrong).status == 400


def test_an_oversized_body_is_refused(signer: Signer):
    """Before it is read."""
    opened = receiver(signer)
    assert refusal(opened, posted(b" " * (opened.max_body + 1))).status == 413
    large = signer.envelope(Message="é" * 131_072)
    assert opened.receive(posted(large)).messages


def test_a_subscription_is_confirmed(signer: Signer, fetched: list[str]):
    """At the address that is made here, of what is signed; no run comes of it."""
    taken = receiver(signer).receive(posted(signer.confirmation()))
    assert (taken.status, list(taken.messages)) == (200, [])
    arn = TOPIC.replace(":", "%3A")
    assert fetched == [f"{ORIGIN}/?Action=ConfirmSubscription&TopicArn={arn}&Token={TOKEN}"]


def test_a_subscription_that_cannot_be_confirmed_now_is_tried_again(
    signer: Signer, fetched: list[str]
):
    """By SNS, after a 503."""
    url = f"{ORIGIN}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=fails"
    envelope = signer.confirmation(Token="fails", SubscribeURL=url)
    assert refusal(receiver(signer), posted(envelope)).status == 503
    assert len(fetched) == 1


@pytest.mark.parametrize(
    "url",
    [
        f"https://evil.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}",
        f"{ORIGIN}.evil.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}",
        f"{ORIGIN}/?Action=ConfirmSubscription&TopicArn={TOPIC}x&Token={TOKEN}",
        f"{ORIGIN}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=other",
        "http://169.254.169.254/latest/meta-data/",
        "",
    ],
)
def test_no_other_address_is_asked_to_confirm(signer: Signer, fetched: list[str], url: str):
    """However well it is signed."""
    assert refusal(receiver(signer), posted(signer.confirmation(SubscribeURL=url))).status == 403
    assert not fetched


def test_the_end_of_a_subscription_is_told(
    signer: Signer, fetched: list[str], caplog: pytest.LogCaptureFixture
):
    """And not undone."""
    taken = receiver(signer).receive(posted(signer.confirmation("UnsubscribeConfirmation")))
    assert (taken.status, list(taken.messages)) == (200, [])
    assert not fetched
    assert f"trigger orders: the subscription to {TOPIC} has ended" in caplog.text


def test_what_the_orchestrator_asks_of_a_receiver(signer: Signer):
    """The connector opens it; ids are known for the window, and nothing polls."""
    connector = SnsConnector()
    opened = connector.receiver({"topics": [TOPIC], "dedup_window": "5h"}, CONTEXT)
    assert opened is not None
    assert opened.remember_for == 5 * 3600 * 10**6
    assert opened.payloads is opened.payloads
    assert TIME in json.dumps(signer.envelope())
    opened.close()
    opened.close()
