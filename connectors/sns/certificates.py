"""The certificates that notifications are signed with: fetched once, trusted while they are valid.

Anybody may name a certificate that does not exist. So what is not there is remembered for a while,
few are fetched at once and in a minute, and no request waits for the certificate of another: it is
told to come again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from connectors import outbound
from connectors.sns.topics import Topic

Fetch: TypeAlias = Callable[[str], bytes]
"""The content at an address; raises :class:`connectors.outbound.NoAnswer`."""

MAX_BYTES = 32 * 1024
_KEPT = 32
_REFUSED_KEPT = 512
_A_MINUTE = 60  # fetches
_AT_ONCE = 2  # fetches
_FETCH_WITHIN = 5.0  # seconds
_GONE_FOR = 300.0  # seconds that a refusal is remembered
_AWAY_FOR = 5.0  # the same, where nobody answered
_MIN_BITS = 2048
_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class NotNow(Exception):
    """Whether a certificate is right cannot be told now."""


class NotTrusted(Exception):
    """There is no such certificate, or it is not one to sign notifications with."""


class Certificates:
    """Of one trigger. Thread-safe."""

    def __init__(
        self, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, x509.Certificate] = OrderedDict()
        self._refused: OrderedDict[str, tuple[float, type[Exception], str]] = OrderedDict()
        self._fetched: deque[float] = deque(maxlen=_A_MINUTE)
        self._flights: dict[str, threading.Event] = {}

    def key(self, topic: Topic, url: str, at: int) -> RSAPublicKey:
        """The key of the certificate at an address of the topic's service, valid at an instant.

        Raises NotNow, NotTrusted.
        """
        if not topic.is_certificate(url):
            raise NotTrusted("the certificate is not at an address of the topic's service")
        certificate = self._known(url) or self._asked(topic, url)
        moment = datetime.fromtimestamp(at / 1_000_000, UTC)
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise NotTrusted("the certificate is not valid now")
        return _key_of(certificate)

    def _known(self, url: str) -> x509.Certificate | None:
        with self._lock:
            certificate = self._kept.get(url)
            if certificate is not None:
                self._kept.move_to_end(url)
                return certificate
            until, kind, words = self._refused.get(url, (0.0, NotTrusted, ""))
            if self._clock() < until:
                raise kind(words)
        return None

    def _asked(self, topic: Topic, url: str) -> x509.Certificate:
        with self._lock:
            flight = self._flights.get(url)
            if flight is None:
                if len(self._flights) == _AT_ONCE:
                    raise NotNow("too many certificates are being fetched")
                self._flights[url] = threading.Event()
        if flight is None:
            try:
                return self._fetched_now(topic, url)
            finally:
                with self._lock:
                    self._flights.pop(url).set()
        flight.wait(_FETCH_WITHIN + 1)
        certificate = self._known(url)
        if certificate is None:
            raise NotNow("the certificate is still being fetched")
        return certificate

    def _fetched_now(self, topic: Topic, url: str) -> x509.Certificate:
        now = self._clock()
        with self._lock:
            if len(self._fetched) == _A_MINUTE and now - self._fetched[0] < 60:
                raise NotNow("too many certificates were fetched in this minute")
            self._fetched.append(now)
        try:
            certificate = _trusted(topic, self._content(topic, url))
        except outbound.NoAnswer as error:
            gone = error.status is not None and 200 <= error.status < 500 and error.status != 429
            raise self._refuse(url, NotTrusted if gone else NotNow, str(error)) from error
        except NotTrusted as error:
            raise self._refuse(url, NotTrusted, str(error)) from error
        with self._lock:
            self._kept[url] = certificate
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return certificate

    def _refuse(self, url: str, kind: type[Exception], words: str) -> Exception:
        span = _GONE_FOR if kind is NotTrusted else _AWAY_FOR
        with self._lock:
            self._refused[url] = (self._clock() + span, kind, words)
            self._refused.move_to_end(url)
            while len(self._refused) > _REFUSED_KEPT:
                self._refused.popitem(last=False)
        return kind(words)

    def _content(self, topic: Topic, url: str) -> bytes:
        if self._fetch is not None:
            return self._fetch(url)
        return outbound.get(
            url,
            limit=MAX_BYTES,
            timeout=_FETCH_WITHIN,
            allow_private=topic.endpoint is not None,
        )


def _trusted(topic: Topic, content: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(content)
        names = _names(certificate)
        _key_of(certificate)
    except _UNREADABLE as error:
        raise NotTrusted("what is there is no certificate") from error
    if topic.signers is not None and not names & topic.signers:
        raise NotTrusted("the certificate is not one of SNS")
    return certificate


def _names(certificate: x509.Certificate) -> set[str]:
    """Those in the extension; where there is none, the one of the subject."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return {str(name.value) for name in common} if len(common) == 1 else set()
    return set(extension.value.get_values_for_type(x509.DNSName))


def _key_of(certificate: x509.Certificate) -> RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_BITS:
        raise NotTrusted(f"the certificate has no RSA key of {_MIN_BITS} bits or more")
    return key
