"""A certificate authority in a folder, and certificates for the roles of SwarmKeep. Used by `swarmkeep pki`.

Two authorities, so that a client of the API is nobody to etcd: `ca` signs API servers and their clients, `etcd-ca`
signs etcd's members and its only client, the API server. Keys are EC P-256; private files have mode 0600.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarmkeep.errors import InvalidObject, NotFound

API_CA = "ca"
ETCD_CA = "etcd-ca"
CA_DAYS = 3650
_CLOCK_SKEW = timedelta(minutes=5)


class Role(StrEnum):
    """What a certificate is for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AGENT = "agent"
    APISERVER = "apiserver"
    ETCD_SERVER = "etcd-server"
    ETCD_CLIENT = "etcd-client"


@dataclass(frozen=True, slots=True)
class _Profile:
    authority: str
    organization: str | None
    server: bool
    client: bool


_PROFILES = {
    Role.ADMIN: _Profile(API_CA, "swarmkeep:admin", server=False, client=True),
    Role.OPERATOR: _Profile(API_CA, "swarmkeep:operator", server=False, client=True),
    Role.AGENT: _Profile(API_CA, "swarmkeep:agent", server=False, client=True),
    Role.APISERVER: _Profile(API_CA, None, server=True, client=False),
    # etcd's members speak to each other as servers and as clients.
    Role.ETCD_SERVER: _Profile(ETCD_CA, None, server=True, client=True),
    Role.ETCD_CLIENT: _Profile(ETCD_CA, None, server=False, client=True),
}


def init(folder: Path) -> None:
    """Makes both authorities in `folder`. One that is there already stays: its certificates would all become void."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (API_CA, ETCD_CA):
        certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
        if key_path.exists() and certificate_path.exists():
            continue
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"swarmkeep {name}", None)
        builder = _builder(subject, subject, key.public_key(), CA_DAYS).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_key_usage(signs=True), critical=True)
        _write(key_path, _pem(key), 0o600)
        _write(certificate_path, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)


def issue(folder: Path, role: Role | str, name: str, hosts: Sequence[str] = (), days: int = 365) -> tuple[Path, Path]:
    """Makes a key and a certificate for `name` in `folder`, signed by the authority there; returns their paths.

    The files are `<role>-<name>.crt` and `.key`, and replace those of an earlier issue. `hosts` are the host names and
    addresses under which a server is reached. Raises NotFound without an authority, InvalidObject for a bad request.
    """
    try:
        role = Role(role)
    except ValueError:
        raise InvalidObject(f"{role!r} is no role: use one of {', '.join(Role)}") from None
    if not name or "/" in name or name.startswith("."):
        raise InvalidObject(f"{name!r} cannot be a certificate's name")
    profile = _PROFILES[role]
    if profile.server and not hosts:
        raise InvalidObject(f"a certificate for {role} needs the hosts under which it is reached")
    authority, authority_key = _load_authority(folder, profile.authority)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(name, profile.organization), authority.subject, key.public_key(), days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs=False), critical=True)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * profile.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * profile.client
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    certificate = builder.sign(authority_key, hashes.SHA256())
    certificate_path, key_path = folder / f"{role}-{name}.crt", folder / f"{role}-{name}.key"
    _write(key_path, _pem(key), 0o600)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate_path, key_path


def _load_authority(folder: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
    except FileNotFoundError as error:
        raise NotFound(f"no authority {name} in {folder}: make one with `swarmkeep pki init {folder}`") from error
    except ValueError as error:
        raise InvalidObject(f"the authority {name} in {folder} cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidObject(f"the key of authority {name} in {folder} is not an EC key")
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _subject(name: str, organization: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
    temporary.rename(path)
