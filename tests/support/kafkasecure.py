"""A Kafka broker that asks who is there: passwords, TLS, certificates of clients, rights."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.support import certificates
from tests.support.certificates import Certificates
from tests.support.kafka import Kafka
from tests.support.kafkaprocess import KafkaProcess

USER = "alice"
PASSWORD = "wonder; land"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
LISTENERS = {"SASL": "SASL_PLAINTEXT", "TLS": "SSL", "MTLS": "SSL", "SASL_TLS": "SASL_SSL"}
_MODULES = "org.apache.kafka.common.security"


class SecureKafka(Kafka):
    """One broker with a listener of each kind; `topic` and the like use the one without.

    Everybody may do everything for which no rule exists; `forbid` makes rules.
    """

    def __init__(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="orch-kafka-"))
        self.certificates: Certificates = certificates.make(directory / "certificates")
        scram = f"[name={USER},password={PASSWORD}]"
        broker = KafkaProcess(
            directory / "1",
            listeners=LISTENERS,
            settings=self._settings(),
            format_options=[
                option
                for mechanism in MECHANISMS[1:]
                for option in ("--add-scram", f"{mechanism}={scram}")
            ],
        )
        self.addresses = broker.addresses
        super().__init__([broker], directory)

    def _settings(self) -> dict[str, str]:
        settings = {
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.authority),
            "listener.name.mtls.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
            "super.users": "User:ANONYMOUS",
        }
        for listener in ("sasl", "sasl_tls"):
            for mechanism in MECHANISMS:
                key = f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"
                if mechanism == "PLAIN":
                    module = f'plain.PlainLoginModule required user_{USER}="{PASSWORD}"'
                else:
                    module = "scram.ScramLoginModule required"
                settings[key] = f"{_MODULES}.{module};"
        return settings

    def forbid(self, topic: str) -> None:
        """Let USER not even see a topic."""
        from kafka.admin import (
            ACL,
            ACLOperation,
            ACLPermissionType,
            ResourcePattern,
            ResourceType,
        )

        rule = ACL(
            principal=f"User:{USER}",
            host="*",
            operation=ACLOperation.ALL,
            permission_type=ACLPermissionType.DENY,
            resource_pattern=ResourcePattern(ResourceType.TOPIC, topic),
        )
        with self.admin() as admin:
            admin.create_acls([rule])
