"""Takes what SNS posts: notifications, and what it says of subscriptions.

Nothing is fetched for an envelope that is not of a topic on the list, and nothing is believed
before its signature was verified.
"""

from __future__ import annotations

import base64
import binascii
import logging

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from connectors import outbound
from connectors.payloads import Payloads
from connectors.push import PushRefused, PushRequest, Receiver, Taken
from connectors.sns import envelopes, events, topics
from connectors.sns.certificates import Certificates, NotNow, NotTrusted
from connectors.sns.envelopes import Envelope
from connectors.sns.settings import SnsSettings
from connectors.sns.topics import Topic
from connectors.streams import SourceContext
from connectors.times import MINUTE

_log = logging.getLogger(__name__)
_AHEAD = 5 * MINUTE
"""How far SNS's clock may be ahead of ours."""
_CONFIRM_WITHIN = 8.0  # seconds; SNS waits 15 for an answer
_CONFIRM_BYTES = 64 * 1024


class SnsReceiver(Receiver):
    """Takes the requests of one trigger."""

    max_body = 1 << 20
    """A message has up to 256 KiB, of which quotes and other letters may be escaped."""

    def __init__(
        self,
        settings: SnsSettings,
        context: SourceContext,
        certificates: Certificates | None = None,
    ) -> None:
        self._settings = settings
        parsed = [topics.parse(arn, settings.endpoint) for arn in settings.topics]
        self._topics = {topic.arn: topic for topic in parsed if topic is not None}
        self._certificates = certificates or Certificates()
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        self._trigger = context.trigger

    def receive(self, request: PushRequest) -> Taken:
        if len(request.body) > self.max_body:
            raise PushRefused(413, f"the body has more than {self.max_body} bytes")
        if request.headers.get("x-amz-sns-rawdelivery", "").strip().lower() == "true":
            raise PushRefused(403, "raw messages are not signed: switch RawMessageDelivery off")
        envelope = envelopes.parse(request.body)
        if request.headers.get("x-amz-sns-message-type", "").strip() != envelope.kind:
            raise PushRefused(400, "x-amz-sns-message-type is not the Type of the body")
        topic = self._topics.get(envelope.topic)
        if topic is None:
            raise PushRefused(403, "notifications of this topic are not taken here")
        if not -_AHEAD <= request.at - envelope.at <= self._settings.tolerance:
            raise PushRefused(403, "Timestamp is too far from now")
        self._verify(envelope, topic, request.at)
        match envelope.kind:
            case "Notification":
                return Taken(messages=(events.of_envelope(envelope, self._settings),), status=200)
            case "SubscriptionConfirmation":
                self._confirm(envelope, topic)
            case "UnsubscribeConfirmation":
                said = "trigger %s: the subscription to %s has ended"
                _log.warning(said, self._trigger, topic.arn)
        return Taken(status=200)

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def remember_for(self) -> int:
        return self._settings.dedup_window

    def close(self) -> None:
        self._payloads.close()

    def _verify(self, envelope: Envelope, topic: Topic, at: int) -> None:
        version = envelope.version
        if version not in ("1", "2"):
            raise PushRefused(403, "SignatureVersion is not one of those that are known")
        if version == "1" and self._settings.require_v2:
            raise PushRefused(403, "SignatureVersion has to be 2 here")
        try:
            signature = base64.b64decode(envelope.signature, validate=True)
        except (binascii.Error, ValueError) as error:
            raise PushRefused(403, "the signature is not right") from error
        try:
            key = self._certificates.key(topic, envelope.certificate_url, at)
        except NotNow as error:
            raise PushRefused(503, "the signature cannot be checked now") from error
        except NotTrusted as error:
            raise PushRefused(403, "SigningCertURL is not one of a right certificate") from error
        # SHA-1 is what version 1 is made of; see `require_v2`.
        algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303
        try:
            key.verify(signature, envelope.signed, PKCS1v15(), algorithm)
        except InvalidSignature as error:
            raise PushRefused(403, "the signature is not right") from error

    def _confirm(self, envelope: Envelope, topic: Topic) -> None:
        if not topic.confirms(envelope.subscribe_url, envelope.token):
            raise PushRefused(403, "SubscribeURL is not one that confirms this subscription")
        try:
            outbound.get(
                topic.confirmation(envelope.token),
                limit=_CONFIRM_BYTES,
                timeout=_CONFIRM_WITHIN,
                allow_private=topic.endpoint is not None,
            )
        except outbound.NoAnswer as error:
            said = "trigger %s: the subscription to %s could not be confirmed: %s"
            _log.warning(said, self._trigger, topic.arn, error)
            raise PushRefused(503, "the subscription could not be confirmed now") from error
        _log.info("trigger %s: subscribed to %s", self._trigger, topic.arn)
