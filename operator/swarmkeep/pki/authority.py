"""Makes the installation's two CAs, and certificates that they sign.

Called by `swarmkeep pki` on a machine of the administrator; no daemon ever needs a CA's key. One CA is for the API, the
other for etcd: who may call the API has thereby no way into etcd. Keys are EC P-256.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarmkeep.errors import UserError
from swarmkeep.pki.files import CERTIFICATE_MODE, KEY_MODE, make_folder, read_whole, write_whole
from swarmkeep.pki.roles import ORGANIZATION_PREFIX, Role, purpose_of, role_of

AUTHORITIES = {"ca": "SwarmKeep API CA", "etcd-ca": "SwarmKeep etcd CA"}
"""Base name of each CA's files, and its common name."""

AUTHORITY_LIFETIME = timedelta(days=3650)
CLOCK_TOLERANCE = timedelta(minutes=10)
"""Certificates are valid from this long ago: the clocks of a new Swarm's nodes need not agree."""
MAX_NAME_LENGTH = 64
"""X.509's limit for a common name."""

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:@-]*[A-Za-z0-9])?", re.ASCII)
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")


def init(folder: Path) -> list[Path]:
    """Makes the CAs that `folder` does not have yet and returns their certificates' paths.

    Never touches one that exists. Raises UserError when there is nothing to make, HostError when a file cannot be
    written.
    """
    make_folder(folder)
    made = []
    for base, common_name in AUTHORITIES.items():
        certificate_path = folder / f"{base}.crt"
        if certificate_path.exists():
            continue
        key = _own_key(folder / f"{base}.key")
        write_whole(certificate_path, _self_signed(key, common_name), CERTIFICATE_MODE)
        made.append(certificate_path)
    if not made:
        raise UserError(f"{folder} has both CAs already: certificates that they signed would no longer be believed")
    return made


def issue(folder: Path, role: Role | str, name: str, hosts: Sequence[str] = (), days: int = 365) -> tuple[Path, Path]:
    """Signs a certificate; returns its path and its key's: `<role>-<name>.crt` and `.key` in `folder`.

    `hosts` are the names and addresses that a server is called by; localhost is always among them. Issuing the same
    again renews the certificate and keeps the key. Raises UserError for impossible input or a missing CA, HostError.
    """
    role = role_of(role)
    purpose = purpose_of(role)
    if len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot be a certificate's name: use up to 64 letters, digits and any of . _ : @ -")
    if days < 1:
        raise UserError("a certificate has to be valid for at least one day")
    if purpose.serves and not hosts:
        raise UserError(f"a certificate for {role} needs at least one --host: the address that clients call it by")
    if hosts and not purpose.serves:
        raise UserError(f"{role} does not serve: --host has no meaning for it")
    alternatives = [_general_name(host) for host in dict.fromkeys((*hosts, *_LOCAL_HOSTS))] if purpose.serves else []
    authority, authority_key = _load_authority(folder, purpose.authority)

    key_path, certificate_path = folder / f"{role}-{name}.key", folder / f"{role}-{name}.crt"
    key = _own_key(key_path)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * purpose.serves + [ExtendedKeyUsageOID.CLIENT_AUTH] * purpose.calls
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{ORGANIZATION_PREFIX}{role}"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    lifetime_end = min(datetime.now(UTC) + timedelta(days=days), authority.not_valid_after_utc)
    builder = (
        _builder(subject, authority.subject, key.public_key(), lifetime_end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(authority_key, hashes.SHA256())
    write_whole(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), CERTIFICATE_MODE)
    return certificate_path, key_path


def _own_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in `path`, made if there is none: what a crash left without its certificate serves the next try."""
    if path.exists():
        return _load_key(path)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_whole(path, pem, KEY_MODE)
    return key


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_whole(path, "the key"), password=None)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is no usable key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{path} is no key of an elliptic curve")
    return key


def _load_authority(folder: Path, base: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_path, key_path = folder / f"{base}.crt", folder / f"{base}.key"
    if not certificate_path.exists() or not key_path.exists():
        raise UserError(f"{folder} has no {base}.crt and {base}.key: make them with `swarmkeep pki init {folder}`")
    try:
        certificate = x509.load_pem_x509_certificate(read_whole(certificate_path, "the CA's certificate"))
    except ValueError as error:
        raise UserError(f"{certificate_path} is no certificate: {error}") from error
    key = _load_key(key_path)
    if certificate.public_key() != key.public_key():
        raise UserError(f"{certificate_path} and {key_path} do not belong together")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise UserError(f"{certificate_path} has expired: nobody would believe what it signs")
    return certificate, key


def _self_signed(key: ec.EllipticCurvePrivateKey, common_name: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(subject, subject, key.public_key(), datetime.now(UTC) + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - CLOCK_TOLERANCE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise UserError(f"{host!r} is neither an address nor a host's name")
    return x509.DNSName(host)
