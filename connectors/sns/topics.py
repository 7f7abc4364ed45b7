"""A topic's name, and the only addresses that its notifications may point to.

An address is never taken apart and judged: the one there may be is made of the topic's name, and
what was sent has to be it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

_ARN = re.compile(
    r"arn:(?P<partition>aws|aws-cn|aws-us-gov):sns:(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2})"
    r":[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?",
    re.ASCII,
)
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem", re.ASCII)
_MAX_ADDRESS = 4096


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic, and the service that speaks for it."""

    arn: str
    partition: str
    region: str
    endpoint: str | None = None
    """``http(s)://host:port`` of a service that is not AWS's own."""

    @property
    def origin(self) -> str:
        """Scheme and host of all addresses."""
        return self.endpoint or f"https://sns.{self.region}.{self._domain}"

    @property
    def signers(self) -> frozenset[str] | None:
        """The names that the certificate of this topic's service may have; None: any, because the
        service is not AWS's own and was named by whoever wrote the settings."""
        if self.endpoint is not None:
            return None
        names = {
            f"sns.{self._domain}",
            f"sns.{self.region}.{self._domain}",
            # Regions that an account has to ask for, and those of China.
            f"sns-signing.{self.region}.{self._domain}",
            f"sns-{self.region}.{self._domain}",
        }
        if self.partition == "aws-us-gov":
            names.add("sns-us-gov-west-1.amazonaws.com")
        return frozenset(names)

    def is_certificate(self, url: str) -> bool:
        """Whether this is an address of one of the service's signing certificates."""
        path = url.removeprefix(self.origin)
        return len(url) <= _MAX_ADDRESS and path != url and _CERTIFICATE.fullmatch(path) is not None

    def confirms(self, url: str, token: str) -> bool:
        """Whether this is the address that confirms a subscription to this topic."""
        question = url.removeprefix(f"{self.origin}/?")
        if question == url or len(url) > _MAX_ADDRESS:
            return False
        try:
            asked = parse_qsl(question, strict_parsing=True, errors="strict", max_num_fields=8)
        except ValueError:
            return False
        return sorted(asked) == sorted(self._question(token))

    def confirmation(self, token: str) -> str:
        """The same, as it is asked for."""
        return f"{self.origin}/?{urlencode(self._question(token))}"

    def _question(self, token: str) -> list[tuple[str, str]]:
        return [("Action", "ConfirmSubscription"), ("TopicArn", self.arn), ("Token", token)]

    @property
    def _domain(self) -> str:
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"


def parse(arn: str, endpoint: str | None = None) -> Topic | None:
    """The topic of an ARN; None where it is none."""
    match = _ARN.fullmatch(arn)
    if match is None:
        return None
    return Topic(arn=arn, partition=match["partition"], region=match["region"], endpoint=endpoint)
