"""The contract of tests/contract/swarm, kept by a real Docker Swarm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from swarmkeep.swarm.docker_swarm import DockerSwarm
from swarmlab import Lab
from swarmlab.workload import alive_manager

from ..contract.swarm.test_swarm import (  # noqa: F401 - collected here once more
    NAME,
    Hands,
    test_changes_are_told_soon,
    test_constraints_move_a_task_and_go_without_a_trace,
    test_nodes,
    test_tasks_of_nothing_are_none,
    test_the_life_of_a_service,
)


@pytest.fixture
def hands(lab: Lab) -> Iterator[Hands]:
    """The lab's Swarm, through the socket of one of its managers."""
    manager = alive_manager(lab)
    swarm = DockerSwarm(f"unix:///proc/{manager.pid}/root/run/docker.sock")

    def docker(*words: str) -> None:
        manager.execute(["docker", "service", *words])

    fixed = ("create", "--detach", "--no-resolve-image", "--name", NAME, "--label", "a=b", "--stop-grace-period", "1s")
    yield Hands(
        swarm,
        lambda replicas: docker(*fixed, "--replicas", str(replicas), lab.images()["shell"], "sleep", "1000"),
        lambda replicas: docker("scale", "--detach", f"{NAME}={replicas}"),
        lambda: docker("update", "--detach", "--force", NAME),
        lambda: docker("rm", NAME),
    )
    asyncio.run(swarm.close())
