"""The stage of a comparison: a lab of one node with Podman beside Docker, and the peers on it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence

from benchmarks.clients import Load, Pinger
from benchmarks.docker import DockerCheckpoint
from benchmarks.peers import VALUE_BYTES, Peer, keys_of
from benchmarks.podman import Podman
from benchmarks.swarmkeep import SwarmKeep
from swarmlab.lab import Lab
from swarmlab.node import Node
from swarmlab.process import LabError
from swarmlab.services import DAEMON_CONFIG


class Scene:
    """What a comparison works with."""

    def __init__(self, lab: Lab, node: Node) -> None:
        self.lab = lab
        self.node = node
        self.peers: Sequence[Peer] = (
            SwarmKeep(lab, node),
            DockerCheckpoint(lab, node),
            Podman(lab, node, "none"),
            Podman(lab, node, "zstd"),
        )

    def pinger(self, peer: Peer) -> Pinger:
        """A client of that peer's Redis."""
        return self.pinger_at(peer.address())

    def pinger_at(self, address: str) -> Pinger:
        """A client of whatever answers there."""
        return Pinger(self.lab, self.node, address)

    def load(self, peer: Peer, megabytes: int) -> Load:
        """redis-benchmark on that peer's Redis."""
        return Load(self.lab, self.node, peer.address(), keys_of(megabytes), VALUE_BYTES)

    @contextlib.contextmanager
    def running(self, megabytes: int) -> Iterator[None]:
        """Every peer's Redis, of that size."""
        try:
            for peer in self.peers:
                peer.start(megabytes)
            yield
        finally:
            for peer in self.peers:
                peer.remove()


@contextlib.contextmanager
def scene(staging: str | None = None) -> Iterator[Scene]:
    """Boots it, and takes it down whatever happens. `staging` is where the agent dumps to.

    Raises LabError when a lab is up already.
    """
    lab = Lab()
    if lab.nodes:
        raise LabError("a lab is up; `hack/lab down` first: measurements want a node of their own")
    try:
        lab.up(1, podman=True)
        node = lab.node("n1")
        if staging:
            _set_staging(node, staging)
        yield Scene(lab, node)
    except LabError:
        for path in lab.logs("n1", "agent") if lab.nodes else ():
            print("\n".join(path.read_text().splitlines()[-20:]), file=sys.stderr)
        raise
    finally:
        lab.down()


def _set_staging(node: Node, folder: str) -> None:
    path = node.root / DAEMON_CONFIG.lstrip("/")
    config = json.loads(path.read_text())
    config["agent"]["stagingDir"] = folder
    node.write(DAEMON_CONFIG, json.dumps(config))
    node.execute(["sv", "term", "/etc/lab/service/agent"])
