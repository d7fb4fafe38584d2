"""Certificates that are made are believed by TLS, and by nothing that they are not for."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from swarmkeep.errors import UserError
from swarmkeep.pki import authority
from swarmkeep.pki.roles import Role


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pki"
    authority.init(path)
    return path


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, Any]:
    """Does a TLS handshake in memory; returns the certificate that the server got from the client."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [client_side, server_side]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not waiting, "the handshake did not end"
    return server_side.getpeercert() or {}


def contexts(
    folder: Path, authority_name: str, server_pair: tuple[Path, Path], client_pair: tuple[Path, Path]
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / f"{authority_name}.crt"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(*server_pair)
    client = ssl.create_default_context(cafile=str(folder / f"{authority_name}.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(*client_pair)
    return server, client


def test_an_agent_is_believed_by_an_api_server_as_its_node(folder: Path) -> None:
    server, client = contexts(
        folder,
        "ca",
        authority.issue(folder, Role.API_SERVER, "n1", ["10.99.0.1", "n1.example"]),
        authority.issue(folder, Role.AGENT, "n1"),
    )
    subject = dict(part[0] for part in handshake(server, client, "10.99.0.1")["subject"])
    assert subject == {"organizationName": "swarmkeep:agent", "commonName": "n1"}


def test_members_of_etcd_believe_each_other_and_clients(folder: Path) -> None:
    member = authority.issue(folder, Role.ETCD_SERVER, "n1", ["10.99.0.1"])
    handshake(*contexts(folder, "etcd-ca", member, member), "10.99.0.1")
    handshake(*contexts(folder, "etcd-ca", member, authority.issue(folder, Role.ETCD_CLIENT, "n1")), "localhost")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.AGENT])
def test_who_may_call_the_api_may_not_call_etcd(folder: Path, role: Role) -> None:
    member = authority.issue(folder, Role.ETCD_SERVER, "n1", ["10.99.0.1"])
    server, client = contexts(folder, "etcd-ca", member, authority.issue(folder, role, "someone"))
    with pytest.raises(ssl.SSLError):
        handshake(server, client, "10.99.0.1")


def test_a_server_certificate_is_no_client_certificate(folder: Path) -> None:
    pair = authority.issue(folder, Role.API_SERVER, "n1", ["10.99.0.1"])
    server, client = contexts(folder, "ca", pair, pair)
    with pytest.raises(ssl.SSLError):
        handshake(server, client, "10.99.0.1")


def test_a_server_is_not_believed_under_another_name(folder: Path) -> None:
    pair = authority.issue(folder, Role.API_SERVER, "n1", ["10.99.0.1"])
    server, client = contexts(folder, "ca", pair, authority.issue(folder, Role.ADMIN, "me"))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "10.99.0.2")


def test_keys_are_readable_by_their_owner_only(folder: Path) -> None:
    certificate, key = authority.issue(folder, "admin", "me")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o644
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_an_existing_authority_is_never_replaced(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="already"):
        authority.init(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_init_completes_what_a_crash_left(folder: Path) -> None:
    before = (folder / "ca.crt").read_bytes(), (folder / "etcd-ca.key").read_bytes()
    (folder / "etcd-ca.crt").unlink()
    assert authority.init(folder) == [folder / "etcd-ca.crt"]
    assert before == ((folder / "ca.crt").read_bytes(), (folder / "etcd-ca.key").read_bytes())
    authority.issue(folder, "etcd-client", "n1")


def test_renewing_keeps_the_key(folder: Path) -> None:
    first, key = authority.issue(folder, "agent", "n1")
    before = first.read_bytes(), key.read_bytes()
    second, _ = authority.issue(folder, "agent", "n1")
    assert key.read_bytes() == before[1]
    assert second.read_bytes() != before[0]


def test_no_certificate_outlives_its_authority(folder: Path) -> None:
    certificate, _ = authority.issue(folder, "admin", "me", days=100_000)
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    signer = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    assert loaded.not_valid_after_utc == signer.not_valid_after_utc


@pytest.mark.parametrize(
    ("role", "name", "hosts", "complaint"),
    [
        ("king", "me", [], "there is no role"),
        ("admin", "../me", [], "cannot be a certificate's name"),
        ("admin", "a" * 65, [], "cannot be a certificate's name"),
        ("admin", "", [], "cannot be a certificate's name"),
        ("apiserver", "n1", [], "needs at least one --host"),
        ("apiserver", "n1", ["no host"], "neither an address"),
        ("agent", "n1", ["n1"], "does not serve"),
    ],
)
def test_impossible_input_is_refused_and_nothing_written(
    folder: Path, role: str, name: str, hosts: list[str], complaint: str
) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match=complaint):
        authority.issue(folder, role, name, hosts)
    assert sorted(folder.iterdir()) == before


def test_a_missing_authority_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pki init"):
        authority.issue(tmp_path, "admin", "me")


def test_a_foreign_key_is_noticed(folder: Path) -> None:
    (folder / "ca.key").write_bytes((folder / "etcd-ca.key").read_bytes())
    with pytest.raises(UserError, match="do not belong together"):
        authority.issue(folder, "admin", "me")
