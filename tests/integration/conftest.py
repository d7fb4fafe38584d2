"""One etcd and one API server for all integration tests of a session; each test keeps to names of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .servers import ApiServer, Pki, api_server, etcd_member


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running `swarmkeep apiserver` with a PKI of its own."""
    folder = tmp_path_factory.mktemp("api")
    pki = Pki.make(folder / "pki")
    with etcd_member(folder) as etcd, api_server(folder, pki, etcd) as running:
        yield running
