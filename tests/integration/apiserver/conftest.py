"""Clusters and servers of a test's own, since these tests hurt them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ...etcd_cluster import EtcdMember, etcd_cluster
from ..servers import ApiServer, Pki, api_server

Start = Callable[[list[EtcdMember], str], ApiServer]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki.make(tmp_path / "pki")


@pytest.fixture
def one_member(tmp_path: Path) -> Iterator[list[EtcdMember]]:
    with etcd_cluster(tmp_path, 1) as members:
        yield members


@pytest.fixture
def three_members(tmp_path: Path) -> Iterator[list[EtcdMember]]:
    with etcd_cluster(tmp_path, 3) as members:
        yield members


@pytest.fixture
def start(tmp_path: Path, pki: Pki) -> Iterator[Start]:
    """Starts an API server over these members; it ends with the test."""
    with ExitStack() as stack:

        def start_one(members: list[EtcdMember], name: str) -> ApiServer:
            endpoints = [member.endpoint for member in members]
            return stack.enter_context(api_server(tmp_path, pki, endpoints, name))

        yield start_one
