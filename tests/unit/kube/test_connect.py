"""Clients over TLS: both sides must show a certificate of the right authority."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from swarmkeep import errors
from swarmkeep.config.settings import ApiSettings
from swarmkeep.kube.connect import client_from_context, client_from_settings
from swarmkeep.kube.kubeconfig import Context, Credentials
from swarmkeep.model.kinds import NODE
from swarmkeep.pki import authority


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, certificates of a server and an agent, and an agent of another authority."""
    folder, elsewhere = tmp_path_factory.mktemp("pki"), tmp_path_factory.mktemp("elsewhere")
    for place in (folder, elsewhere):
        authority.init(place)
        for suffix, path in zip((".crt", ".key"), authority.issue(place, "agent", "n1"), strict=True):
            path.rename(place / f"agent{suffix}")
    for suffix, path in zip(
        (".crt", ".key"), authority.issue(folder, "apiserver", "s", ["127.0.0.1", "api.test"]), strict=True
    ):
        path.rename(folder / f"server{suffix}")
    for name in ("agent.crt", "agent.key", "ca.crt"):
        (elsewhere / name).rename(folder / f"stranger-{name}")
    return folder


@pytest.fixture
async def server(pki: Path) -> AsyncIterator[str]:
    """Answers every request with the common name of the caller's certificate."""

    async def caller(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        names = dict(pair for relative in subject for pair in relative)
        return web.json_response({"caller": names["commonName"]})

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
        assert await client.get(NODE, "n1") == {"caller": "n1"}


async def test_a_server_of_another_authority_is_not_believed(pki: Path, server: str) -> None:
    api = settings(server, pki / "stranger-ca.crt")
    async with client_from_settings(api, pki / "agent.crt", pki / "agent.key", field_manager="agent") as client:
        with pytest.raises(errors.Unavailable, match="certificate is not trusted"):
            await client.get(NODE, "n1")


async def test_a_client_of_another_authority_gets_nothing(pki: Path, server: str) -> None:
    api = settings(server, pki / "ca.crt")
    async with client_from_settings(
        api, pki / "stranger-agent.crt", pki / "stranger-agent.key", field_manager="x"
    ) as client:
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
        assert await client.get(NODE, "n1") == {"caller": "n1"}
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
        assert await client.get(NODE, "n1") == {"caller": "n1"}
