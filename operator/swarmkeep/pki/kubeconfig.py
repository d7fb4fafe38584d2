"""A kubeconfig with everything in it, for kubectl and for `swarmkeep`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from swarmkeep.pki.authority import API_CA, Role, issue


def render(folder: Path, server: str, role: Role | str = Role.ADMIN, name: str = "admin", days: int = 365) -> str:
    """Issues a certificate for `name` and returns the kubeconfig that uses it, as YAML. Raises as `issue` does."""
    certificate, key = issue(folder, role, name, days=days)
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "swarmkeep",
                "cluster": {"server": server, "certificate-authority-data": _data(folder / f"{API_CA}.crt")},
            }
        ],
        "users": [
            {"name": name, "user": {"client-certificate-data": _data(certificate), "client-key-data": _data(key)}}
        ],
        "contexts": [{"name": "swarmkeep", "context": {"cluster": "swarmkeep", "user": name, "namespace": "default"}}],
        "current-context": "swarmkeep",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
