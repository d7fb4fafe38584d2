"""Writes kubeconfigs: one file with everything that kubectl or `swarmkeep` needs to call the API as somebody."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from swarmkeep.errors import UserError
from swarmkeep.pki.files import read_whole

SERVERS_EXTENSION = "servers.swarmkeep.dev"
"""Names the other API servers, for `swarmkeep` to fall back to; kubectl overlooks extensions and uses the first."""


def render(servers: Sequence[str], ca: Path, certificate: Path, key: Path, user: str, cluster: str = "swarm") -> str:
    """The kubeconfig as YAML, with CA, certificate and key inside: keep it as secret as the key.

    `servers` are URLs of the same API, at least one. Raises UserError for URLs that are not https, HostError for files
    that cannot be read.
    """
    if not servers:
        raise UserError("a kubeconfig needs at least one --server")
    for server in servers:
        if not server.startswith("https://"):
            raise UserError(f"server {server!r} must begin with https://: the API asks for a certificate")
    cluster_entry: dict[str, Any] = {
        "server": servers[0],
        "certificate-authority-data": _encoded(ca, "the CA's certificate"),
    }
    if len(servers) > 1:
        cluster_entry["extensions"] = [{"name": SERVERS_EXTENSION, "extension": {"servers": list(servers)}}]
    credentials = {
        "client-certificate-data": _encoded(certificate, "the certificate"),
        "client-key-data": _encoded(key, "the key"),
    }
    context = f"{user}@{cluster}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": cluster_entry}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user, "namespace": "default"}}],
        "current-context": context,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _encoded(path: Path, what: str) -> str:
    return base64.b64encode(read_whole(path, what)).decode("ascii")
