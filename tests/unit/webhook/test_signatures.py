"""Who is let in: right, forged, altered and late signatures, and secrets that are replaced."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.push import PushRefused, PushRequest
from connectors.webhook import signatures
from connectors.webhook.settings import parse_settings

NOW = 1_750_000_000
BODY = b'{"id": "evt_1"}'
SECRETS = {"HOOK": "whsec_new", "OLD": "whsec_old", "EMPTY": " "}
STRIPE: dict[str, Any] = {"signature": "stripe", "secret": {"secret": "HOOK"}}
GENERIC: dict[str, Any] = {
    "signature": "generic",
    "secret": {"secret": "HOOK"},
    "signature_header": "X-Signature",
}
SLACK = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


def mac(content: bytes, secret: str = "whsec_new", algorithm: str = "sha256") -> bytes:
    """What a sender computes."""
    return hmac.new(secret.encode(), content, algorithm).digest()


def stripe(time: int | str = NOW, body: bytes = BODY, secret: str = "whsec_new") -> str:
    """The header that Stripe sends."""
    return f"t={time},v1={mac(f'{time}.'.encode() + body, secret).hex()},v0={'0' * 64}"


def check(
    settings: dict[str, Any],
    headers: Mapping[str, str],
    body: bytes = BODY,
    *,
    now: int = NOW,
    key: str | None = None,
    secrets: Mapping[str, str] = SECRETS,
) -> None:
    """Verify a request as the receiver does."""
    request = PushRequest(
        headers={name.lower(): value for name, value in headers.items()},
        query={},
        body=body,
        sender="192.0.2.1",
        at=now * 1_000_000,
    )
    signatures.verify(parse_settings(settings), secrets, request, key)


def refused(*args: Any, **named: Any) -> PushRefused:
    """The refusal of a request that must be refused."""
    with pytest.raises(PushRefused) as caught:
        check(*args, **named)
    return caught.value


def test_the_example_that_github_publishes():
    """Its documentation gives secret, body and signature."""
    settings = {"signature": "github", "secret": {"secret": "HOOK"}}
    secrets = {"HOOK": "It's a Secret to Everybody"}
    value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    check(settings, {"X-Hub-Signature-256": value}, b"Hello, World!", secrets=secrets)
    wrong = refused(settings, {"X-Hub-Signature-256": value}, b"Hello, World?", secrets=secrets)
    assert wrong.status == 401


def test_the_example_that_slack_publishes():
    """The generic form, with a time and words of its own in what is signed."""
    settings = {
        **GENERIC,
        "signature_header": "X-Slack-Signature",
        "prefix": "v0=",
        "timestamp_header": "X-Slack-Request-Timestamp",
        "signed": "v0:{timestamp}:{body}",
    }
    headers = {
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "X-Slack-Request-Timestamp": "1531420618",
    }
    secrets = {"HOOK": "8f742231b10e8888abcd99yyyzzz85a5"}
    check(settings, headers, SLACK, now=1531420618 + 299, secrets=secrets)
    late = refused(settings, headers, SLACK, now=1531420618 + 301, secrets=secrets)
    assert "too far from now" in late.reason


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256=",
        "sha1=" + mac(BODY).hex(),
        mac(BODY).hex(),
        "sha256=" + mac(BODY).hex()[:-2],
        "sha256=" + mac(BODY).hex() + "00",
        "sha256=" + mac(BODY, "").hex(),
        "sha256=" + mac(BODY, "None").hex(),
        "sha256=" + mac(BODY, "whsec_old").hex(),
        "sha256=" + " ".join(f"{byte:02x}" for byte in mac(BODY)),
        "sha256=" + mac(BODY).hex() + ", sha256=" + mac(BODY).hex(),
        "sha256=" + "é" * 64,
    ],
)
def test_what_github_would_not_send_is_refused(value: str):
    """Other algorithms, other secrets, shortened and repeated signatures."""
    settings = {"signature": "github", "secret": {"secret": "HOOK"}}
    assert refused(settings, {"X-Hub-Signature-256": value}).status == 401


def test_a_request_without_its_signature_is_refused():
    """Whatever else it carries."""
    for settings, name in ((STRIPE, "Stripe-Signature"), (GENERIC, "X-Signature")):
        refusal = refused(settings, {"X-Hub-Signature": "sha1=00"})
        assert (refusal.status, refusal.reason) == (401, f"there is no {name}")


def test_stripe_takes_any_of_several_signatures():
    """While a secret is rolled Stripe signs with both."""
    check(STRIPE, {"Stripe-Signature": stripe()})
    other = mac(b"x").hex()
    check(STRIPE, {"Stripe-Signature": stripe().replace(",v0", f",v1={other},v0")})
    check(STRIPE, {"Stripe-Signature": stripe().replace("v1=", f"v1={other}, v1=")})


@pytest.mark.parametrize("seconds", [-301, 301, 86_400, -86_400])
def test_a_replay_out_of_its_time_is_refused(seconds: int):
    """Old, and far ahead."""
    refusal = refused(STRIPE, {"Stripe-Signature": stripe(NOW + seconds)})
    assert (refusal.status, "too far" in refusal.reason) == (401, True)
    wide = {**STRIPE, "tolerance": "1d", "dedup_window": "2d"}
    check(wide, {"Stripe-Signature": stripe(NOW + seconds)})


@pytest.mark.parametrize(
    "value",
    [
        stripe().replace(f"t={NOW}", f"t={NOW + 1}"),
        stripe().replace("t=", "x="),
        f"t={NOW},{stripe()}",
        stripe().replace("v1=", "v0="),
        f"t={NOW}",
        stripe("-1"),
        stripe("1e9"),
        stripe("9" * 400),
        stripe("١٧٥٠٠٠٠٠٠٠"),
        stripe(body=b"{}"),
        stripe() + ",v1=00" * 20,
    ],
)
def test_what_stripe_would_not_send_is_refused(value: str):
    """Altered times, no time or two, no signature of this version, a crowd of them."""
    assert refused(STRIPE, {"Stripe-Signature": value}).status == 401


@pytest.mark.parametrize(("algorithm", "encoding"), [("sha512", "base64"), ("sha256", "hex")])
def test_the_generic_form_in_its_writings(algorithm: str, encoding: str):
    """Both hashes, both encodings, and never one for the other."""
    settings = {**GENERIC, "algorithm": algorithm, "encoding": encoding, "prefix": "v1 "}
    digest = mac(BODY, algorithm=algorithm)
    hexed, based = digest.hex(), base64.b64encode(digest).decode()
    right, wrong = (hexed, based) if encoding == "hex" else (based, hexed)
    check(settings, {"X-Signature": f"v1 {right}"})
    assert refused(settings, {"X-Signature": f"v1 {wrong}"}).status == 401
    assert refused(settings, {"X-Signature": right}).status == 401
    assert refused(settings, {"X-Signature": f"v1 {right}\n{right}"}).status == 401


def test_a_signed_key_cannot_be_replaced():
    """A replay under another key would be another event: here it is a forgery."""
    settings = {
        **GENERIC,
        "timestamp_header": "X-Time",
        "signed": "{key}.{timestamp}.{body}",
        "idempotency": {"header": "X-Id"},
    }
    headers = {"X-Time": str(NOW), "X-Signature": mac(f"msg_1.{NOW}.".encode() + BODY).hex()}
    check(settings, headers, key="msg_1")
    assert refused(settings, headers, key="msg_2").status == 401
    # Pieces cannot borrow from each other.
    moved = {**headers, "X-Time": str(NOW)}
    assert refused(settings, moved, key=f"msg_1.{NOW}").status == 401


def test_milliseconds_are_told_from_seconds():
    """By their number of digits."""
    settings = {**GENERIC, "timestamp_header": "X-Time"}
    time = f"{NOW}123"
    signed = mac(f"{time}.".encode() + BODY).hex()
    check(settings, {"X-Time": time, "X-Signature": signed})


def test_two_secrets_at_once_while_one_is_replaced():
    """Both are right; neither alone is needed."""
    both = {**STRIPE, "secret": [{"secret": "HOOK"}, {"secret": "OLD"}]}
    check(both, {"Stripe-Signature": stripe(secret="whsec_new")})
    check(both, {"Stripe-Signature": stripe(secret="whsec_old")})
    assert refused(both, {"Stripe-Signature": stripe(secret="other")}).status == 401


@pytest.mark.parametrize("name", ["NOT_THERE", "EMPTY"])
def test_a_missing_secret_lets_nobody_in(name: str):
    """The sender tries again; the words that say what to do are for the people here."""
    settings = {**STRIPE, "secret": {"secret": name}}
    for signed in (stripe(secret=""), stripe(secret=" "), stripe()):
        refusal = refused(settings, {"Stripe-Signature": signed})
        assert refusal.status == 503
        assert name not in refusal.reason
        assert name in str(refusal.__cause__)
    both = {**STRIPE, "secret": [{"secret": name}, {"secret": "HOOK"}]}
    check(both, {"Stripe-Signature": stripe()})
    assert refused(both, {"Stripe-Signature": stripe(secret="x")}).status == 503


@given(
    settings=st.sampled_from(
        [
            STRIPE,
            GENERIC,
            {**GENERIC, "encoding": "base64", "timestamp_header": "X-Time"},
            {"signature": "github", "secret": {"secret": "HOOK"}},
        ]
    ),
    value=st.one_of(
        st.text(max_size=200),
        st.text("0123456789abcdef=,tv1sh ", max_size=200),
        st.from_regex(r"t=\d{1,20}(,v1=[0-9a-f]{64}){0,3}", fullmatch=True),
    ),
    time=st.text(max_size=20),
)
@example(settings=STRIPE, value="t=1,t=1", time="")
def test_no_header_does_anything_but_be_refused(settings: dict[str, Any], value: str, time: str):
    """Whatever stands in it, the answer is 401."""
    names = ("Stripe-Signature", "X-Signature", "X-Hub-Signature-256")
    headers = {**dict.fromkeys(names, value), "X-Time": time}
    assert refused(settings, headers).status == 401


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_every_bit_of_the_body_is_signed(at: int, bit: int):
    """One that is turned over is a forgery."""
    body = bytearray(BODY)
    body[at] ^= 1 << bit
    assert refused(STRIPE, {"Stripe-Signature": stripe()}, bytes(body)).status == 401


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    """By the one function that does, for every secret and every signature."""
    calls: list[int] = []
    real = hmac.compare_digest

    def counted(a: Any, b: Any) -> bool:
        calls.append(len(a))
        return real(a, b)

    monkeypatch.setattr(signatures.hmac, "compare_digest", counted)
    both = {**STRIPE, "secret": [{"secret": "HOOK"}, {"secret": "OLD"}]}
    signed = stripe().replace(",v0", f",v1={hashlib.sha256(b'').hexdigest()},v0")
    check(both, {"Stripe-Signature": signed})
    assert calls == [32] * 4
