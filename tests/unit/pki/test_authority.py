"""Certificates that a real TLS handshake accepts, and refuses where it must."""

import asyncio
import ssl
import stat
from pathlib import Path

import pytest
import yaml

from swarmkeep.errors import InvalidObject, NotFound
from swarmkeep.pki import authority, kubeconfig


async def handshake(folder: Path, server: tuple[Path, Path], client: tuple[Path, Path], ca: str) -> dict[str, object]:
    """Who the server saw."""
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / f"{ca}.crt"))
    listening.verify_mode = ssl.CERT_REQUIRED
    listening.load_cert_chain(*server)
    calling = ssl.create_default_context(cafile=str(folder / f"{ca}.crt"))
    calling.load_cert_chain(*client)
    seen: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("peercert"))
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=listening) as running:
        port = running.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=calling)
        await reader.read()
        writer.close()
        return await asyncio.wait_for(seen, 1)


async def test_an_agent_shows_its_role_and_its_node(tmp_path: Path) -> None:
    authority.init(tmp_path)
    server = authority.issue(tmp_path, "apiserver", "n1", ["127.0.0.1", "n1"])
    agent = authority.issue(tmp_path, "agent", "n2")
    peer = await handshake(tmp_path, server, agent, "ca")
    assert peer["subject"] == ((("organizationName", "swarmkeep:agent"),), (("commonName", "n2"),))


async def test_a_client_of_the_api_is_nobody_to_etcd(tmp_path: Path) -> None:
    authority.init(tmp_path)
    etcd = authority.issue(tmp_path, "etcd-server", "n1", ["127.0.0.1"])
    admin = authority.issue(tmp_path, "admin", "me")
    with pytest.raises((ssl.SSLError, ConnectionError, TimeoutError)):
        await handshake(tmp_path, etcd, admin, "etcd-ca")


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    authority.init(tmp_path)
    _, key = authority.issue(tmp_path, "admin", "me")
    for path in (key, tmp_path / "ca.key", tmp_path / "etcd-ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_authority_is_never_replaced(tmp_path: Path) -> None:
    authority.init(tmp_path)
    before = (tmp_path / "ca.crt").read_bytes()
    authority.init(tmp_path)
    assert (tmp_path / "ca.crt").read_bytes() == before


def test_without_an_authority_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="swarmkeep pki init"):
        authority.issue(tmp_path, "admin", "me")


@pytest.mark.parametrize(("role", "name"), [("root", "me"), ("apiserver", "n1"), ("admin", "../x"), ("admin", "")])
def test_a_bad_request_is_refused(tmp_path: Path, role: str, name: str) -> None:
    authority.init(tmp_path)
    with pytest.raises(InvalidObject):
        authority.issue(tmp_path, role, name)


def test_a_kubeconfig_has_everything_in_it(tmp_path: Path) -> None:
    authority.init(tmp_path)
    document = yaml.safe_load(kubeconfig.render(tmp_path, "https://10.0.0.1:6443"))
    assert document["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:6443"
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
