"""Envelopes: what is read, and that one signature fits one of them only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connectors.push import PushRefused
from connectors.sns import envelopes
from tests.support.sns import TIME, TOKEN, TOPIC

NOTIFICATION: dict[str, Any] = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": TOPIC,
    "Subject": "My First Message",
    "Message": "Hello\nworld!",
    "Timestamp": TIME,
    "SignatureVersion": "1",
    "Signature": "AAAA",
    "SigningCertURL": "https://example.com/",
}
CONFIRMATION: dict[str, Any] = {
    **NOTIFICATION,
    "Type": "SubscriptionConfirmation",
    "Token": TOKEN,
    "SubscribeURL": "https://example.com/confirm",
}


def parsed(document: Any) -> envelopes.Envelope:
    """The envelope of a document."""
    return envelopes.parse(json.dumps(document).encode())


def refused(document: Any) -> PushRefused:
    """The refusal of a document that must be refused."""
    with pytest.raises(PushRefused) as caught:
        parsed(document)
    return caught.value


def test_what_is_signed():
    """As AWS documents it: names in order, a subject only where there is one."""
    rest = f"Timestamp\n{TIME}\nTopicArn\n{TOPIC}\nType\nNotification\n"
    head = "Message\nHello\nworld!\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\n"
    assert parsed(NOTIFICATION).signed == f"{head}Subject\nMy First Message\n{rest}".encode()
    without = {name: value for name, value in NOTIFICATION.items() if name != "Subject"}
    assert parsed(without).signed == f"{head}{rest}".encode()
    assert parsed({**NOTIFICATION, "Subject": None}).signed == f"{head}{rest}".encode()
    assert (
        parsed(CONFIRMATION).signed
        == (
            f"{head}SubscribeURL\nhttps://example.com/confirm\nTimestamp\n{TIME}\nToken\n{TOKEN}\n"
            f"TopicArn\n{TOPIC}\nType\nSubscriptionConfirmation\n"
        ).encode()
    )


LINES = (
    *("MessageId", "TopicArn", "Subject", "Timestamp", "SignatureVersion", "Signature"),
    *("SigningCertURL", "Type"),
)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize(
    "value", ["a\nb", "a\r", "\u2028", "a\x00", "\x1b[0m", "x" * 5000, 7, [], {}, True, "\x85"]
)
def test_only_the_message_may_have_lines(name: str, value: Any):
    """Every other value is one line of text."""
    assert refused({**NOTIFICATION, name: value}).status == 400


@pytest.mark.parametrize("name", [*LINES, "Message"])
def test_what_is_missing_is_refused(name: str):
    """All but the subject have to be there."""
    if name == "Subject":
        return
    assert refused({key: value for key, value in NOTIFICATION.items() if key != name}).status == 400


@pytest.mark.parametrize(
    "changed",
    [
        {"Type": "notification"},
        {"Type": "Other"},
        {"MessageId": ""},
        {"MessageId": "a b"},
        {"MessageId": "é"},
        {"Message": None},
        {"Message": {"a": 1}},
        {"Timestamp": "2025-06-15"},
        {"Timestamp": "1969-12-31T23:59:59Z"},
        {"Timestamp": "9999-12-31T23:59:59Z"},
        {"Timestamp": "2025-06-15T15:06:40+02:00"},
        {"Timestamp": "2025-13-15T15:06:40Z"},
        {"Timestamp": "2025-06-15T15:06:40.1234567Z"},
        {"Timestamp": "0001-01-01T00:00:00Z "},
        {"Timestamp": "٢٠٢٥-06-15T15:06:40Z"},
        {"MessageAttributes": []},
        {"MessageAttributes": {"a": "b"}},
        {"MessageAttributes": {"a": {"Type": "String"}}},
        {"MessageAttributes": {"a": {"Type": "Number", "Value": 7}}},
    ],
)
def test_values_that_do_not_look_as_they_should(changed: dict[str, Any]):
    """Each has a form."""
    assert refused({**NOTIFICATION, **changed}).status == 400


@pytest.mark.parametrize("changed", [{"Token": ""}, {"Token": "a&b=c"}, {"SubscribeURL": "a\nb"}])
def test_confirmations_need_their_token_and_address(changed: dict[str, Any]):
    """Both are part of what is signed."""
    assert refused({**CONFIRMATION, **changed}).status == 400


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"7", b"{}", b"\xff", b'{"Type":"a","Type":"b"}', b"[" * 10**6]
)
def test_bodies_that_are_no_envelope(body: bytes):
    """400, whatever it is."""
    with pytest.raises(PushRefused) as caught:
        envelopes.parse(body)
    assert caught.value.status == 400


def test_a_message_cannot_be_cut_into_another_envelope():
    """Whoever may publish writes a message that holds the lines of another id: its signature
    would fit that, too, if a value could hold lines."""
    inner = f"paid\nMessageId\nother-id\nSubject\nx\nTimestamp\n{TIME}"
    whole = parsed({**NOTIFICATION, "Message": inner})
    assert b"\nMessageId\nother-id\n" in whole.signed
    tail = f"x\nTimestamp\n{TIME}\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\nSubject\n"
    cut = {
        **NOTIFICATION,
        "Message": "paid",
        "MessageId": "other-id",
        "Subject": f"{tail}My First Message",
    }
    assert refused(cut).status == 400


words = st.text("ab\nMessageIdSubjectTimestamp", max_size=30)
lines = st.sampled_from(["a", "Subject", "Timestamp", "MessageId", "Type", "x y"])
documents = st.fixed_dictionaries(
    {"Message": words, "MessageId": st.sampled_from(["a", "Subject", "Timestamp", "MessageId"])},
    optional={"Subject": lines},
)


@given(documents, documents)
def test_different_envelopes_sign_different_texts(one: dict[str, str], other: dict[str, str]):
    """The signed text tells its parts, though nothing quotes them."""
    assume(one != other)
    first, second = parsed({**_bare(), **one}), parsed({**_bare(), **other})
    assert first.signed != second.signed


def _bare() -> dict[str, Any]:
    return {name: value for name, value in NOTIFICATION.items() if name != "Subject"}


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.dictionaries(st.sampled_from([*CONFIRMATION, "MessageAttributes"]), anything).map(
            lambda changed: json.dumps({**CONFIRMATION, **changed}).encode()
        ),
    )
)
def test_a_body_is_an_envelope_or_refused(body: bytes):
    """Nothing else ever comes out."""
    try:
        envelope = envelopes.parse(body)
    except PushRefused as refusal:
        status = refusal.status
    else:
        status = 400
        assert envelope.signed
    assert status == 400
