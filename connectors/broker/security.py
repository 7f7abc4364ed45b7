"""Who we are to a broker, and whom we trust: settings with secrets by their names."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.fields import Secret, error, reveal
from connectors.streams import SourceRefused


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user, and how it is proven."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Files are PEM and lie where the orchestrator is."""

    ca: str | None = None
    """The authorities to trust; None: those of the system."""
    cert: str | None = None
    """The client's certificate and its chain."""
    key: str | None = None
    """Its private key; None: it stands in the file of `cert`."""
    password: str | None = field(default=None, repr=False)
    """Of the private key."""
    check_hostname: bool = True


class TlsSettings(BaseModel):
    """Whom to trust and, for mTLS, who we are. Files are PEM and lie where the orchestrator is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: str | None = Field(
        None,
        min_length=1,
        description="File with the authorities to trust. Without one: those of the system.",
        examples=["/etc/orch/broker-ca.pem"],
    )
    cert: str | None = Field(
        None,
        min_length=1,
        description="File with the client's certificate and its chain.",
        examples=["/etc/orch/broker-client.pem"],
    )
    key: str | None = Field(
        None,
        min_length=1,
        description="File with its private key. Without one it stands in the file of `cert`.",
        examples=["/etc/orch/broker-client.key"],
    )
    password: Secret | None = Field(
        None,
        description="The name of the secret that opens the private key.",
        examples=[{"secret": "MQTT_KEY_PASSWORD"}],
    )
    check_hostname: bool = Field(
        True, description="Whether the broker's certificate must name its host.", examples=[True]
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TlsSettings:
        for name in ("key", "password"):
            if getattr(self, name) is not None and self.cert is None:
                raise error(f"`{name}` is given without `cert`", "add the certificate", name)
        return self


class SecuritySettings(BaseModel):
    """How to speak to a broker that does not take everyone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str | None = Field(
        None, min_length=1, description="The name of the user.", examples=["orch"]
    )
    password: Secret | None = Field(
        None,
        description="The name of the secret that is the user's password.",
        examples=[{"secret": "MQTT_PASSWORD"}],
    )
    tls: TlsSettings | None = Field(
        None,
        description="With `mqtts://`: whom to trust, where it is not the authorities of the "
        "system, and the client's own certificate.",
        examples=[{"ca": "/etc/orch/broker-ca.pem"}],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SecuritySettings:
        if self.password is not None and self.user is None:
            raise error("a password is given without `user`", "add the user", "password")
        return self

    def open_login(self, secrets: Mapping[str, str]) -> Login | None:
        """The user with the password. Raises SourceRefused when the secret is not there."""
        if self.user is None:
            return None
        return Login(user=self.user, password=_open(self.password, secrets))

    def open_tls(self, secrets: Mapping[str, str]) -> Tls:
        """The files with the key's password. Raises SourceRefused when the secret is not there."""
        tls = self.tls or TlsSettings.model_validate({})
        return Tls(
            ca=tls.ca,
            cert=tls.cert,
            key=tls.key,
            password=_open(tls.password, secrets),
            check_hostname=tls.check_hostname,
        )


def context_of(tls: Tls) -> ssl.SSLContext:
    """What a connection is made with. Raises SourceRefused for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            # Never asks at a terminal, as the library does where a password is missing.
            context.load_cert_chain(tls.cert, tls.key, password=tls.password or "")
    except (OSError, ValueError) as reason:
        files = ", ".join(name for name in (tls.ca, tls.cert, tls.key) if name)
        raise SourceRefused(f"the files for TLS cannot be used ({files}): {reason}") from reason
    context.check_hostname = tls.check_hostname
    return context


def _open(name: Secret | None, secrets: Mapping[str, str]) -> str | None:
    if name is None:
        return None
    try:
        return reveal(name, secrets)
    except LookupError as missing:
        raise SourceRefused(str(missing)) from missing
