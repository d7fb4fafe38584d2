"""Kubeconfigs that are written are read back by the same rules as kubectl's."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmkeep.errors import UserError
from swarmkeep.kube.kubeconfig import load_context
from swarmkeep.pki import authority
from swarmkeep.pki.kubeconfig import render


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    authority.init(tmp_path)
    return authority.issue(tmp_path, "admin", "me")


def test_what_is_written_can_be_read(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    servers = ["https://10.99.0.1:6443", "https://10.99.0.2:6443"]
    file = tmp_path / "kubeconfig"
    file.write_text(render(servers, tmp_path / "ca.crt", *pair, user="me"))
    context = load_context([file])
    assert context.servers == tuple(servers)
    assert context.name == "me@swarm"
    assert context.credentials.ca == (tmp_path / "ca.crt").read_text()
    assert context.credentials.certificate == pair[0].read_text()
    assert context.credentials.key == pair[1].read_text()
    assert context.credentials.verify


@pytest.mark.parametrize("servers", [[], ["http://10.99.0.1:6443"], ["10.99.0.1:6443"]])
def test_only_https_is_written(tmp_path: Path, pair: tuple[Path, Path], servers: list[str]) -> None:
    with pytest.raises(UserError):
        render(servers, tmp_path / "ca.crt", *pair, user="me")
