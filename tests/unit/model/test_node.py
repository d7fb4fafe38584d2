"""A Node as judgements need it."""

from __future__ import annotations

from typing import Any

from swarmkeep.model.node import Load, Network, parse_node, swarm_wire
from swarmkeep.model.swarm import SwarmNode


def node(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "n1"}, "status": status}


def test_what_an_older_agent_does_not_report_is_not_known() -> None:
    facts = parse_node(node())
    assert (facts.volumes, facts.networks, facts.swarm, facts.load) == (None, None, None, Load())
    assert facts.creates_containers is False


def test_what_placement_needs_is_read() -> None:
    facts = parse_node(
        node(
            machine="x86_64",
            features={"createsContainers": True},
            capacity={"cpus": 4, "memoryBytes": 100, "freeMemoryBytes": 50},
            taken={"running": 2, "memoryBytes": 30, "cpus": 1.5, "names": ["db"], "ports": ["80/tcp"]},
            volumes=["data"],
            networks=[{"name": "shop", "driver": "overlay", "scope": "swarm", "attachable": True}],
            standbys=[{"workload": "default/redis.1", "version": 4}, {"workload": "default/redis.2"}],
        )
    )
    assert (facts.machine, facts.creates_containers) == ("x86_64", True)
    assert facts.load == Load(4, 100, 50, 2, 30, 1.5)
    assert (facts.volumes, facts.container_names, facts.ports) == (
        frozenset({"data"}),
        frozenset({"db"}),
        frozenset({"80/tcp"}),
    )
    assert facts.networks == {"shop": Network("overlay", "swarm", True)}
    assert facts.standbys == {"default/redis.1": 4}


def test_what_the_swarm_says_comes_back_as_it_was_written() -> None:
    said = SwarmNode("id1", "n1", True, "drain", True, "10.0.0.1", {"zone": "a=b", "empty": ""})
    assert parse_node(node(swarm=swarm_wire(said))).swarm == said
