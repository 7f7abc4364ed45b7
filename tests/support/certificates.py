"""Certificates for tests: an authority, a server on 127.0.0.1, and a client with a sealed key."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY_PASSWORD = "sealed-with-this"
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Paths of PEM files."""

    authority: Path
    server: Path
    """Key, certificate and authority in one file, as Kafka's PEM stores want it."""
    client: Path
    client_key: Path
    """Encrypted with KEY_PASSWORD."""
    stranger: Path
    """An authority that has signed nothing here."""


def make(directory: Path) -> Certificates:
    """Make them in a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    authority, authority_key = _authority("orch tests")
    stranger, _ = _authority("somebody else")
    server, server_key = _signed("localhost", authority, authority_key)
    client, client_key = _signed("orch-client", authority, authority_key)
    files = {
        "authority": _pem(authority),
        "server": _key(server_key) + _pem(server) + _pem(authority),
        "client": _pem(client),
        "client_key": _key(client_key, KEY_PASSWORD),
        "stranger": _pem(stranger),
    }
    paths = {name: directory / f"{name}.pem" for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
        paths[name].chmod(0o600)
    return Certificates(**paths)


def _authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    return builder.sign(key, hashes.SHA256()), key


def _signed(
    name: str, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = _builder(_name(name), authority.subject, key).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost"), address]), critical=False
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    return builder.sign(authority_key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key(key: ec.EllipticCurvePrivateKey, password: str = "") -> bytes:
    sealing = (
        serialization.BestAvailableEncryption(password.encode())
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
