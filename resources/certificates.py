"""Certificates for servers of ours that talk to each other alone: one authority, one certificate, made for one start.

The authority's key is never written, so nothing else can be issued under it, and nothing has to be renewed.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Longer than any server runs without a restart.
VALID = timedelta(days=3650)


@dataclass(frozen=True, repr=False)
class Identity:
    """PEM texts: the authority's certificate, and a certificate under it for both ends of a connection, with its key."""

    authority: str
    certificate: str
    key: str


def make_identity(name: str, now: datetime | None = None) -> Identity:
    """A fresh authority and one certificate for 127.0.0.1 under it, for servers and clients alike (ECDSA on P-256).

    now: start of the validity, less a day for a clock that is set back.
    """
    since = (now or datetime.now(UTC)) - timedelta(days=1)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _name(f"{name} authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), since)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(_name(name), authority_name, key.public_key(), since)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Identity(_pem(authority), _pem(certificate), _key_pem(key))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, since: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=since,
        not_valid_after=since + VALID,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
