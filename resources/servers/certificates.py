"""Certificates of the embedded servers, one authority with one certificate; and the authorities that this process trusts.

The authority's key is never written, so that no other certificate can be issued under it.
"""

import ipaddress
import os
import re
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from resources.files import write

# Longer than any server runs without a restart.
VALID = timedelta(days=3650)
_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, repr=False)
class Identity:
    """PEM texts: the authority's certificate, and a certificate under it for both ends of a connection, with its key."""

    authority: str
    certificate: str
    key: str


def make_identity(name: str, now: datetime | None = None) -> Identity:
    """A new authority with one certificate for 127.0.0.1, for servers and clients (ECDSA on P-256).

    now: start of the validity plus one day, a margin for clocks that are set back.
    """
    since = (now or datetime.now(UTC)) - timedelta(days=1)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # OpenSSL finds an authority by its name: a unique one is never confused with that of another home.
    authority_name = _name(f"{name} authority {secrets.token_hex(8)}")
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


def trust(authority: Path, bundle: Path) -> None:
    """Have this process, and what it starts, trust an authority beside those that it trusts already.

    bundle: the file that names them all, for boto3 (AWS_CA_BUNDLE) and the libraries in Rust and Python (SSL_CERT_FILE).
    """
    certificates = [*_certificates(_of_the_machine()), *_certificates(_of_boto3()), *_certificates(authority)]
    text = b"\n".join(dict.fromkeys(certificates)) + b"\n"
    if not bundle.is_file() or bundle.read_bytes() != text:
        write(bundle, text)
    os.environ.update(SSL_CERT_FILE=str(bundle), AWS_CA_BUNDLE=str(bundle))


def _certificates(file: Path | None) -> list[bytes]:
    """The certificates in a file, without the comments between them."""
    return _CERTIFICATE.findall(file.read_bytes()) if file else []


def _of_the_machine() -> Path:
    return next(path for path in _bundles() if os.access(path, os.R_OK) and path.is_file())


def _of_boto3() -> Path | None:
    """The bundle that boto3 is configured with, such as a private authority of another S3."""
    bundle = Path(os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or "/none")
    return bundle if os.access(bundle, os.R_OK) and bundle.is_file() else None


def _bundles() -> Iterator[Path]:
    """Candidates for the machine's file of authorities; the one in this process's environment comes first."""
    yield Path(os.environ.get("SSL_CERT_FILE") or "/none")
    yield Path(ssl.get_default_verify_paths().openssl_cafile)
    yield Path("/etc/ssl/certs/ca-certificates.crt")
    yield Path("/etc/pki/tls/certs/ca-bundle.crt")
    from botocore.httpsession import get_cert_path  # boto3's own, as the last resort: slow to import

    yield Path(get_cert_path(True))


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
