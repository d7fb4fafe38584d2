"""Names, addresses and folders of one lab."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path("/var/cache/swarmkeep-lab")
"""What takes long to build: root file systems, images. May be deleted at any time when no lab is up."""
STATE = Path("/var/lib/swarmkeep-lab")
"""What belongs to a running lab. On a real disk: Docker's overlay2 cannot lie on another overlay."""
API_PORT = 6443
REGISTRY_PORT = 5000
S3_PORT = 7480
S3_BUCKET = "versions"
SERVERS = {"registry": 100, "s3": 101}
"""Nodes that are no part of the Swarm, with their numbers."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One lab. Several can run side by side under different names and networks."""

    name: str = field(default_factory=lambda: os.environ.get("SWARMKEEP_LAB", "lab"))
    network: str = field(default_factory=lambda: os.environ.get("SWARMKEEP_LAB_NET", "10.99.0"))
    """The first three parts of the nodes' addresses."""

    @property
    def state(self) -> Path:
        return STATE / self.name

    @property
    def shared(self) -> Path:
        """Stands for shared storage: /shared in every node."""
        return self.state / "shared"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def bridge(self) -> str:
        return f"br-{self._short}"

    @property
    def gateway(self) -> str:
        return f"{self.network}.254"

    @property
    def registry(self) -> str:
        """Host and port of the lab's image registry."""
        return f"{self.network}.{SERVERS['registry']}:{REGISTRY_PORT}"

    @property
    def s3(self) -> str:
        """URL of the lab's S3 server."""
        return f"http://{self.network}.{SERVERS['s3']}:{S3_PORT}"

    @property
    def cgroup(self) -> str:
        """Parent of the cgroups of all containers of the lab."""
        return f"swarmkeep-{self.name}"

    def link(self, node: str) -> str:
        """The machine's end of a node's cable."""
        return f"{self._short}-{node}"

    @property
    def _short(self) -> str:
        # Linux allows 15 characters for the name of an interface.
        if len(self.name) <= 5:
            return self.name
        return self.name[:2] + hashlib.blake2b(self.name.encode(), digest_size=2).hexdigest()[:3]


def index_of(node: str) -> int:
    """The number in a node's name: 2 for `n2`; servers beside the Swarm have theirs in SERVERS."""
    if node in SERVERS:
        return SERVERS[node]
    if node[:1] == "n" and node[1:].isdecimal() and 1 <= int(node[1:]) <= 50:
        return int(node[1:])
    raise ValueError(f"{node!r} is no node of the lab: they are called n1, n2, n3 ...")
