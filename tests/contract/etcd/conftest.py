"""The same tests for a real etcd and for its twin in memory."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from swarmkeep.etcd.client import Client
from swarmkeep.etcd.memory import MemoryEtcd
from swarmkeep.etcd.port import Etcd

from ...etcd_cluster import EtcdMember, etcd_cluster


@pytest.fixture(scope="session")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdMember]:
    with etcd_cluster(tmp_path_factory.mktemp("etcd"), 1) as members:
        yield members[0]


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.etcd)])
async def etcd(request: pytest.FixtureRequest) -> AsyncIterator[Etcd]:
    client: Etcd
    client = MemoryEtcd() if request.param == "memory" else Client([request.getfixturevalue("member").endpoint])
    yield client
    await client.close()


@pytest.fixture
def folder() -> str:
    """A prefix that no other test has."""
    return f"/test/{uuid.uuid4()}/"
