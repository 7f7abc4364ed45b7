"""The part of Kafka settings that says who we are: SASL, TLS, and secrets by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.fields import Secret, SecretName, error, reveal
from connectors.kafka.connection import Mechanism, Sasl, Tls
from connectors.streams import SourceRefused


class SaslSettings(BaseModel):
    """A user and where its password is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mechanism: Mechanism = Field(
        description="How the password is proven; PLAIN sends it, so use it with `tls` only.",
        examples=["SCRAM-SHA-512"],
    )
    user: str = Field(min_length=1, description="The name of the user.", examples=["orch"])
    password: Secret = Field(
        description="The name of the secret that is the password.",
        examples=[{"secret": "KAFKA_PASSWORD"}],
    )


class TlsSettings(BaseModel):
    """Whom to trust and, for mTLS, who we are. Files are PEM and lie where the orchestrator is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: str | None = Field(
        None,
        description="File with the authorities to trust. Without one: those of the system.",
        examples=["/etc/orch/kafka-ca.pem"],
    )
    cert: str | None = Field(
        None,
        description="File with the client's certificate and its chain (mTLS).",
        examples=["/etc/orch/kafka-client.pem"],
    )
    key: str | None = Field(
        None,
        description="File with its private key. Without one it stands in the file of `cert`.",
        examples=["/etc/orch/kafka-client.key"],
    )
    password: Secret | None = Field(
        None,
        description="The name of the secret that opens the private key.",
        examples=[{"secret": "KAFKA_KEY_PASSWORD"}],
    )
    check_hostname: bool = Field(
        True, description="Whether a broker's certificate must name its host.", examples=[True]
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TlsSettings:
        for name in ("key", "password"):
            if getattr(self, name) is not None and self.cert is None:
                raise error(f"`{name}` is given without `cert`", "add the certificate", name)
        return self


class SecuritySettings(BaseModel):
    """How to speak to a cluster that does not take everyone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sasl: SaslSettings | None = Field(
        None,
        description="User and password.",
        examples=[
            {
                "mechanism": "SCRAM-SHA-512",
                "user": "orch",
                "password": {"secret": "KAFKA_PASSWORD"},
            }
        ],
    )
    tls: TlsSettings | None = Field(
        None,
        description="Encrypted connections; `true` trusts the authorities of the system.",
        examples=[True, {"ca": "/etc/orch/kafka-ca.pem"}],
        json_schema_extra=lambda schema: cast(list[Any], schema["anyOf"]).append({"const": True}),
    )

    @field_validator("tls", mode="before")
    @classmethod
    def _plain_tls(cls, value: object) -> object:
        if value is True:
            return {}
        return None if value is False else value

    def open_sasl(self, secrets: Mapping[str, str]) -> Sasl | None:
        """The user with the password. Raises SourceRefused when the secret is not there."""
        if self.sasl is None:
            return None
        password = _open(self.sasl.password, secrets)
        return Sasl(mechanism=self.sasl.mechanism, user=self.sasl.user, password=password)

    def open_tls(self, secrets: Mapping[str, str]) -> Tls | None:
        """The files with the key's password. Raises SourceRefused when the secret is not there."""
        tls = self.tls
        if tls is None:
            return None
        return Tls(
            ca=tls.ca,
            cert=tls.cert,
            key=tls.key,
            password=None if tls.password is None else _open(tls.password, secrets),
            check_hostname=tls.check_hostname,
        )


def _open(name: SecretName, secrets: Mapping[str, str]) -> str:
    try:
        return reveal(name, secrets)
    except LookupError as missing:
        raise SourceRefused(str(missing)) from missing
