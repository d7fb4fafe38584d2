"""A real API server over a real etcd, for the contract that the client and the server share."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import NAMESPACE

from ...integration.servers import ApiServer, Pki, api_server, etcd_member

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with etcd_member(tmp_path_factory.mktemp("etcd")) as address:
        yield address


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="session")
def pki(folder: Path) -> Pki:
    return Pki.make(folder / "pki")


@pytest.fixture(scope="session")
def server(folder: Path, pki: Pki, etcd: str) -> Iterator[ApiServer]:
    with api_server(folder, pki, etcd) as running:
        yield running


@pytest.fixture
async def client(server: ApiServer, pki: Pki) -> AsyncIterator[Client]:
    async with Client([server.url], pki.client_tls(), timeout_s=10, field_manager="contract") as client:
        yield client


@pytest.fixture
async def namespace(client: Client) -> str:
    """A namespace of the test's own."""
    name = f"contract-{next(_numbers)}"
    await client.create(NAMESPACE, {"metadata": {"name": name}})
    return name
