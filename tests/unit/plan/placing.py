"""Builders for placement: a node on which everything is well, and a container that could go anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swarmkeep.model.ident import Ref
from swarmkeep.model.node import Load, Network, NodeFacts, SeenLocation, Space
from swarmkeep.model.swarm import SwarmNode
from swarmkeep.model.traits import ContainerTraits, Mount
from swarmkeep.plan.host_fit import Needs, VersionNeeds

GIB = 1 << 30
REF = Ref("default", "db")
IMAGE = {"shop/db:1": "sha256:1", "shop/db@sha256:aa": "sha256:1"}
TRAITS = ContainerTraits(
    image="shop/db:1",
    image_id="sha256:1",
    tty=False,
    privileged=False,
    host_namespaces=(),
    devices=(),
    mounts=(),
    connections=False,
    name="db",
    networks=("shop",),
    ports=("5432/tcp",),
    memory_bytes=2 * GIB,
    cpus=1,
)
VERSION = VersionNeeds(
    number=7,
    host={"kernel": "6.12.1", "criu": "4.2.1", "machine": "x86_64"},
    cpu_features=frozenset({"avx2", "sse", "vmx"}),
    locations=("main",),
    memory_bytes=GIB,
)
NEEDS = Needs(REF, plain=True, seed="uid/3", leaves="n1", traits=TRAITS, version=VERSION)


def node(name: str, **fields: Any) -> NodeFacts:
    """A node that can run it, but for `fields`."""
    well = NodeFacts(
        name,
        ready="True",
        versions={"swarmkeep": "1", "docker": "28.5.2", "runc": "1.3.6", "criu": "4.2.1", "kernel": "6.12.1"},
        lazy_pages=True,
        cgroup_version=2,
        runtime="/opt/swarmkeep/bin/swarmkeep-runtime",
        storage_driver="overlay2",
        criu_passed=True,
        cpu_features=frozenset({"avx2", "sse"}),
        spaces=(Space("staging", "/stage", 100 * GIB, 50 * GIB),),
        images=IMAGE,
        locations=(SeenLocation("main", True, ""),),
        swarm=SwarmNode(f"id-{name}", name, True, "active", False, f"10.0.0.{name[-1]}", {"zone": "a"}),
        machine="x86_64",
        creates_containers=True,
        load=Load(4, 16 * GIB, 12 * GIB, 3, 4 * GIB, 1),
        volumes=frozenset({"data"}),
        networks={"shop": Network("overlay", "swarm", True)},
    )
    return replace(well, **fields)


def volume(name: str) -> Mount:
    return Mount("volume", name, f"/{name}", False)
