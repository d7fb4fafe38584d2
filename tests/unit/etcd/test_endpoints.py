"""How endpoints may be written, and which files are missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmkeep.errors import HostError, InvalidObject
from swarmkeep.etcd.client import Client
from swarmkeep.etcd.endpoints import TlsFiles


@pytest.mark.parametrize("endpoint", ["10.0.0.1:2379", "https://10.0.0.1:2379/", "[::1]:2379", "etcd.example:2379"])
async def test_endpoints_are_host_and_port(endpoint: str) -> None:
    await Client([endpoint]).close()


@pytest.mark.parametrize("endpoints", [[], ["10.0.0.1"], ["10.0.0.1:"], [":2379"], ["10.0.0.1:http"]])
async def test_anything_else_is_refused(endpoints: list[str]) -> None:
    with pytest.raises(InvalidObject):
        Client(endpoints)


async def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "ca.crt", tmp_path / "client.crt", tmp_path / "client.key")
    with pytest.raises(HostError, match=r"ca\.crt"):
        Client(["10.0.0.1:2379"], files)
