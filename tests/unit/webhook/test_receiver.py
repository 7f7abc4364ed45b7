"""From a request to an event: ids, bodies, headers, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.abc import JSON
from connectors.push import PushRefused, PushRequest, Receiver, Taken
from connectors.streams import SourceContext
from connectors.webhook import WebhookConnector

NOW = 1_750_000_000
JSON_TYPE = "application/json; charset=utf-8"


def receiver(**settings: Any) -> Receiver:
    """As the orchestrator opens it."""
    context = SourceContext(
        instance="i",
        trigger="hook",
        trigger_uid="u1",
        secrets={"HOOK": "key"},
        data_dir=Path("/nonexistent"),
        stop=threading.Event(),
    )
    given: dict[str, JSON] = {"signature": "none", **settings}
    WebhookConnector().check(given)
    opened = WebhookConnector().receiver(given, context)
    assert opened is not None
    return opened


def request(body: bytes = b"{}", content_type: str | None = JSON_TYPE, **headers: str):
    """One that came just now; `_` stands for `-` in names."""
    sent = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if content_type is not None:
        sent["content-type"] = content_type
    return PushRequest(headers=sent, query={}, body=body, sender="192.0.2.1", at=NOW * 10**6)


def event(body: bytes = b"{}", content_type: str | None = JSON_TYPE, **settings: Any) -> Any:
    """What the task gets of a body."""
    taken = receiver(**settings).receive(request(body, content_type))
    return taken.messages[0].body


def refusal(opened: Receiver, asked: PushRequest) -> PushRefused:
    """The refusal of a request that must be refused."""
    with pytest.raises(PushRefused) as caught:
        opened.receive(asked)
    return caught.value


def test_an_event_says_what_came():
    """Id, time, type, chosen headers and the body; one message, answered with 202."""
    opened = receiver(headers=["X-Event", "X-Absent"])
    taken = opened.receive(request(b'{"a": [1, 2.5, null]}', X_Event="push", X_Other="no"))
    (message,) = taken.messages
    assert message.body == {
        "id": message.id,
        "received_at": "2025-06-15T15:06:40Z",
        "content_type": "application/json",
        "headers": {"x-event": "push"},
        "body": {"a": [1, 2.5, None]},
    }
    assert (taken.status, taken.answer, message.at) == (202, {"id": message.id}, NOW * 10**6)
    assert not message.receipt
    assert not message.group


def test_an_event_can_be_written_again():
    """Whatever was taken is JSON and UTF-8."""
    body = event('{"ключ": "значение \\ud83d\\ude00"}'.encode())
    assert json.loads(json.dumps(body, allow_nan=False).encode()) == body


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": 1}', "application/vnd.api+json", {"body": {"a": 1}}),
        (b'"text"', "APPLICATION/JSON", {"body": "text"}),
        (b"a=1&b=x+y&a=2&c=", "application/x-www-form-urlencoded", None),
        (b'{"a": 1}', "text/plain", {"body": '{"a": 1}'}),
        ("é".encode(), None, {"body": "é"}),
        (b"", None, {"body": ""}),
        (b"a\0b", None, {"body_base64": "YQBi"}),
        (b"\xff\xfe", "text/plain", {"body_base64": "//4="}),
        (b"\xe9", "text/plain; charset=latin-1", {"body_base64": "6Q=="}),
        (b"{}", "application/json, text/plain", {"body": "{}"}),
    ],
)
def test_bodies_by_their_type(body: bytes, content_type: str | None, expected: Any):
    """JSON is read, forms are fields, the rest is text or Base64."""
    expected = expected or {"body": {"a": ["1", "2"], "b": "x y", "c": ""}}
    found = event(body, content_type)
    assert {key: found[key] for key in found.keys() & {"body", "body_base64"}} == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"-Infinity",
        b"1e999",
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'{"a": 1, "a": 2}',
        b"9" * 101,
        b"9" * 100_000,
        b"0." + b"1" * 101,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'"\\u0000"',
        b'{"\\u0000": 1}',
        b'"\x00"',
        b"'a'",
    ],
)
def test_hostile_json_is_refused(body: bytes):
    """Too deep, too large, twice, not a number, not a text: 400, and no event."""
    refused = refusal(receiver(), request(body))
    assert refused.status == 400
    assert len(refused.reason) < 120


def test_large_and_deep_json_that_is_right_is_taken():
    """The bounds are beyond what people send."""
    deep = b"[" * 64 + b"1" + b"]" * 64
    assert event(deep)["body"]
    assert event(b"[" + b"1," * 100_000 + b"1]")["body"]
    assert event(b"123456789012345678901234567890")["body"] == 123456789012345678901234567890


def test_more_values_than_memory_allows_are_refused():
    """Three bytes of body may be sixty of memory."""
    opened = receiver(max_body=2**23, storage="/srv/orch")
    refused = refusal(opened, request(b"[" + b"[]," * 1_500_000 + b"[]]"))
    assert (refused.status, "values" in refused.reason) == (400, True)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json; charset=utf-16", 415),
        (b"a=1", "application/x-www-form-urlencoded; charset=latin-1", 415),
        (b"a=%FF", "application/x-www-form-urlencoded", 400),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"a=%00", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 1001), "application/x-www-form-urlencoded", 400),
    ],
)
def test_bodies_that_are_not_what_they_are_said_to_be(body: bytes, content_type: str, status: int):
    """Other character sets, broken escapes, crowds of fields."""
    assert refusal(receiver(), request(body, content_type)).status == status


def test_an_oversized_body_is_refused():
    """Also where it was let through to here."""
    opened = receiver(max_body=10)
    assert opened.max_body == 10
    opened.receive(request(b'"' + b"x" * 8 + b'"'))
    assert refusal(opened, request(b'"' + b"x" * 9 + b'"')).status == 413


def test_ids_of_events():
    """A header where there is one, a place in the body, the body itself, or a new one."""

    def id_of(asked: PushRequest, **settings: Any) -> str:
        return receiver(**settings).receive(asked).messages[0].id

    assert id_of(request(Idempotency_Key=" k-1 ")) == "k-1"
    assert id_of(request()) != id_of(request())
    assert id_of(request(Idempotency_Key="k"), idempotency="none") != "k"
    assert id_of(request(X_Id="k"), idempotency={"header": "X-Id"}) == "k"
    nested = request(b'{"event": {"id": 7}}')
    assert id_of(nested, idempotency={"field": "event.id"}) == "7"
    same = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    assert id_of(request(), idempotency="body") == same


@pytest.mark.parametrize("key", ["", " ", "a\x7fb", "a\nb", "k" * 256, "\u202ek", "\ud800"])
def test_a_key_that_cannot_be_one_is_refused(key: str):
    """Empty, long or unprintable: whether it is named in the settings or not."""
    assert refusal(receiver(), request(Idempotency_Key=key)).status == 400
    named = receiver(idempotency={"header": "X-Id"})
    assert refusal(named, request(X_Id=key)).status == 400


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", JSON_TYPE),
        (b"[]", JSON_TYPE),
        (b'{"event": "x"}', JSON_TYPE),
        (b'{"event": {"id": null}}', JSON_TYPE),
        (b'{"event": {"id": true}}', JSON_TYPE),
        (b'{"event": {"id": {}}}', JSON_TYPE),
        (b'{"event": {"id": 1.5}}', JSON_TYPE),
        (b'{"event": {"id": "x"}}', "text/plain"),
    ],
)
def test_a_body_without_the_key_that_the_settings_name_is_refused(body: bytes, content_type: str):
    """Its events could not be told apart."""
    opened = receiver(idempotency={"field": "event.id"})
    assert refusal(opened, request(body, content_type)).status == 400
    assert refusal(receiver(idempotency={"header": "X-Id"}), request()).status == 400


def test_github_and_stripe_have_ids_of_their_own():
    """A delivery that comes again is the same event; so is an event of Stripe."""
    body = b'{"id": "evt_1"}'
    named = {"secret": "HOOK"}
    github = receiver(signature="github", secret=named)
    signed = "sha256=" + hmac.new(b"key", body, "sha256").hexdigest()
    sent = {"X_Hub_Signature_256": signed, "X_GitHub_Event": "push"}
    (message,) = github.receive(request(body, **sent, X_GitHub_Delivery="d-1")).messages
    assert (message.id, message.body["headers"]) == ("d-1", {"x-github-event": "push"})
    assert refusal(github, request(body, **sent)).status == 400
    stripe = receiver(signature="stripe", secret=named)
    digest = hmac.new(b"key", f"{NOW}.".encode() + body, "sha256").hexdigest()
    again = [
        stripe.receive(request(body, Stripe_Signature=f"t={NOW},v1={digest}")).messages[0].id
        for _ in range(2)
    ]
    assert again == ["evt_1", "evt_1"]


def test_nothing_of_a_body_is_read_before_its_signature():
    """A forged request learns nothing of how its body would have been read."""
    opened = receiver(signature="stripe", secret={"secret": "HOOK"})
    forged = request(b"[" * 100_000, Stripe_Signature=f"t={NOW},v1={'0' * 64}")
    assert refusal(opened, forged).status == 401


def test_an_unprintable_header_is_not_handed_on():
    """It might end up in a variable or a log."""
    opened = receiver(headers=["X-Event"])
    for value in ("a\x1bb", "x" * 4097, "\u2028"):
        assert refusal(opened, request(X_Event=value)).status == 400


def test_ids_are_known_for_the_window_and_payloads_stay_one_object():
    """What the orchestrator asks of a receiver."""
    opened = receiver(dedup_window="2h")
    assert opened.remember_for == 2 * 3600 * 10**6
    assert opened.payloads is opened.payloads
    opened.close()
    opened.close()


@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.text('{}[]",:0123456789.eE+-\\u nulltruefalseNaN', max_size=80).map(str.encode),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode()),
    ),
    content_type=st.one_of(
        st.none(),
        st.text(max_size=40),
        st.sampled_from(
            ["application/json", "application/x-www-form-urlencoded", "text/plain; charset=é"]
        ),
    ),
    key=st.one_of(st.none(), st.text(max_size=300)),
)
def test_a_request_is_an_event_or_refused(body: bytes, content_type: str | None, key: str | None):
    """Nothing else ever comes out, and an event is always what others can read."""
    sent = {} if key is None else {"Idempotency_Key": key}
    try:
        taken = receiver().receive(request(body, content_type, **sent))
    except PushRefused as refused:
        status = refused.status
    else:
        status = 202
        _check_taken(taken, body)
    assert status in (202, 400, 415)


def _check_taken(taken: Taken, body: bytes) -> None:
    (message,) = taken.messages
    assert 1 <= len(message.id) <= 1024
    assert message.id.isprintable()
    written = json.dumps(message.body, allow_nan=False, ensure_ascii=False).encode()
    assert json.loads(written) == message.body
    if "body_base64" in message.body:
        assert base64.b64decode(str(message.body["body_base64"])) == body
