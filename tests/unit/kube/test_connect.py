"""Clients over TLS: both sides must show a certificate of the right authority."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarmkeep import errors
from swarmkeep.config.settings import ApiSettings
from swarmkeep.kube.connect import client_from_context, client_from_settings
from swarmkeep.kube.kubeconfig import Context, Credentials
from swarmkeep.model.kinds import NODE

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def issue(directory: Path, name: str, issuer: str | None = None) -> None:
    """Writes NAME.crt and NAME.key; without an issuer they are an authority's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    signer, issuer_name = key, subject
    if issuer is not None:
        signer = serialization.load_pem_private_key((directory / f"{issuer}.key").read_bytes(), None)  # type: ignore[assignment]
        issuer_name = x509.load_pem_x509_certificate((directory / f"{issuer}.crt").read_bytes()).subject
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("api.test")]), False
        ).add_extension(x509.ExtendedKeyUsage(usages), False)
    certificate = builder.issuer_name(issuer_name).sign(signer, hashes.SHA256())
    (directory / f"{name}.crt").write_bytes(certificate.public_bytes(PEM))
    (directory / f"{name}.key").write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    issue(directory, "ca")
    issue(directory, "server", "ca")
    issue(directory, "agent", "ca")
    issue(directory, "stranger")
    return directory


@pytest.fixture
async def server(pki: Path) -> AsyncIterator[str]:
    """Answers every request with the common name of the caller's certificate."""

    async def caller(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        return web.json_response({"caller": dict(pair for ((pair),) in subject)["commonName"]})

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(pki / "server.crt", pki / "server.key")
    app = web.Application()
    app.router.add_get("/{path:.*}", caller)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    yield f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    await runner.cleanup()


def settings(server: str, ca: Path) -> ApiSettings:
    return ApiSettings(servers=(server,), ca=ca, timeout=datetime.timedelta(seconds=1))


async def test_a_daemon_is_known_by_its_certificate(pki: Path, server: str) -> None:
    api = settings(server, pki / "ca.crt")
    async with client_from_settings(api, pki / "agent.crt", pki / "agent.key", field_manager="agent") as client:
        assert await client.get(NODE, "n1") == {"caller": "agent"}


async def test_a_server_of_another_authority_is_not_believed(pki: Path, server: str) -> None:
    api = settings(server, pki / "stranger.crt")
    async with client_from_settings(api, pki / "agent.crt", pki / "agent.key", field_manager="agent") as client:
        with pytest.raises(errors.Unavailable, match="certificate is not trusted"):
            await client.get(NODE, "n1")


async def test_a_client_of_another_authority_gets_nothing(pki: Path, server: str) -> None:
    api = settings(server, pki / "ca.crt")
    async with client_from_settings(api, pki / "stranger.crt", pki / "stranger.key", field_manager="x") as client:
        with pytest.raises(errors.Unavailable):
            await client.get(NODE, "n1")


@pytest.mark.parametrize(
    ("certificate", "key", "complaint"),
    [
        ("absent.crt", "agent.key", "cannot read .*absent.crt"),
        ("agent.crt", "server.key", "are no certificate with its key"),
    ],
)
def test_wrong_files_are_named(pki: Path, certificate: str, key: str, complaint: str) -> None:
    with pytest.raises(errors.InvalidObject, match=complaint):
        client_from_settings(settings("https://x", pki / "ca.crt"), pki / certificate, pki / key, field_manager="x")


def test_a_missing_authority_is_named(pki: Path) -> None:
    with pytest.raises(errors.InvalidObject, match=r"absent\.crt as certificate authority"):
        client_from_settings(
            settings("https://x", pki / "absent.crt"), pki / "agent.crt", pki / "agent.key", field_manager="x"
        )


async def test_a_kubeconfigs_context_works_with_texts_and_another_server_name(pki: Path, server: str) -> None:
    credentials = Credentials(
        ca=(pki / "ca.crt").read_text(),
        certificate=(pki / "agent.crt").read_text(),
        key=(pki / "agent.key").read_text(),
        server_name="api.test",
    )
    context = Context("c", (server,), "default", credentials)
    async with client_from_context(context, timeout_s=2, field_manager="x") as client:
        assert await client.get(NODE, "n1") == {"caller": "agent"}
    wrong = replace(context, credentials=replace(credentials, server_name="other.test"))
    async with client_from_context(wrong, timeout_s=2, field_manager="x") as client:
        with pytest.raises(errors.Unavailable, match="certificate is not trusted"):
            await client.get(NODE, "n1")


async def test_a_context_may_ask_to_believe_any_server(pki: Path, server: str) -> None:
    credentials = Credentials(
        certificate=(pki / "agent.crt").read_text(), key=(pki / "agent.key").read_text(), verify=False
    )
    async with client_from_context(
        Context("c", (server,), "default", credentials), timeout_s=2, field_manager="x"
    ) as client:
        assert await client.get(NODE, "n1") == {"caller": "agent"}
