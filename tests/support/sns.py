"""A topic's service for tests: its key, its certificate, and what it posts."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

from connectors.push import PushRequest

NOW = 1_750_000_000
TIME = "2025-06-15T15:06:40.000Z"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
ORIGIN = "https://sns.eu-central-1.amazonaws.com"
PATH = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
TOKEN = "2336412f37fb687f5d51e6e2425f004ae"

_FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Signer:
    """Signs as SNS does."""

    def __init__(
        self,
        names: tuple[str, ...] = ("sns.amazonaws.com",),
        *,
        alternative: tuple[str, ...] | None = None,
        days: tuple[int, int] = (-1, 30),
        bits: int = 2048,
    ) -> None:
        """A certificate whose subject is the first of `names`, valid from and to so many days from
        NOW. Its other names are all of `names`, or `alternative`; an empty one: none."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        others = names if alternative is None else alternative
        self.pem = _certificate(self.key, names[0], others, days)

    def sign(self, envelope: Mapping[str, Any], version: str) -> str:
        """The signature of an envelope."""
        names = _FIELDS.get(envelope["Type"], _FIELDS[""])
        text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
        return base64.b64encode(self.key.sign(text.encode(), PKCS1v15(), algorithm)).decode()

    def envelope(self, version: str = "1", origin: str = ORIGIN, **changed: Any) -> dict[str, Any]:
        """A notification, or what `changed` makes of it before it is signed; None leaves out."""
        envelope: dict[str, Any] = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Subject": "An order",
            "Message": '{"order": 7,\n "text": "é"}',
            "Timestamp": TIME,
            "SignatureVersion": version,
            "SigningCertURL": f"{origin}{PATH}",
            "UnsubscribeURL": f"{origin}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:1",
            **changed,
        }
        envelope = {name: value for name, value in envelope.items() if value is not None}
        return {**envelope, "Signature": self.sign(envelope, version)}

    def confirmation(
        self, kind: str = "SubscriptionConfirmation", origin: str = ORIGIN, **changed: Any
    ) -> dict[str, Any]:
        """What SNS says of a subscription."""
        url = f"{origin}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={TOKEN}"
        given = {"Type": kind, "Subject": None, "Token": TOKEN, "SubscribeURL": url, **changed}
        return self.envelope(origin=origin, **given)


def elliptic_pem() -> bytes:
    """A certificate whose key is no RSA key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _certificate(key, "sns.amazonaws.com", ("sns.amazonaws.com",), (-1, 30))


def posted(envelope: Mapping[str, Any] | bytes, at: int = NOW, **headers: str) -> PushRequest:
    """The request with which it comes; `_` stands for `-` in the names of headers."""
    kind = "" if isinstance(envelope, bytes) else str(envelope.get("Type", ""))
    sent = {"x-amz-sns-message-type": kind, "content-type": "text/plain; charset=UTF-8"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    return PushRequest(headers=sent, query={}, body=body, sender="192.0.2.1", at=at * 10**6)


def _certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    name: str,
    others: tuple[str, ...],
    days: tuple[int, int],
) -> bytes:
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
    )
    if others:
        extension = x509.SubjectAlternativeName([x509.DNSName(other) for other in others])
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
