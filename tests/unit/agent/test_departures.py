"""Which containers an agent stops because a migration says so, and which it does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.departures import Departures
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import NotFound, Unavailable
from swarmkeep.model.ident import Ref
from swarmkeep.model.migration import Migration, MigrationPhase, parse_migration

from ..objects import NOW, stamp

WEB = Ref("default", "web")


class Docker:
    """Notes what it was told to stop; fails as long as told to."""

    def __init__(self) -> None:
        self.stopped: list[str] = []
        self.failures: list[Exception] = []
        self.told = asyncio.Event()

    async def stop(self, container_id: str) -> None:
        if self.failures:
            failure = self.failures.pop()
            if isinstance(failure, NotFound):
                self.told.set()
            raise failure
        self.stopped.append(container_id)
        self.told.set()


class Orders:
    """Stands for the mirror of this node's migrations."""

    def __init__(self, wish: dict[str, Any]) -> None:
        self.objects = {Ref("default", "move"): wish}

    async def run(self) -> None:
        await asyncio.Event().wait()


class Node:
    """n1, which runs the container c1 under epoch 3."""

    def __init__(self, folder: Path) -> None:
        self.docker = Docker()
        self.tracked = TrackedContainers(Journal(folder))
        self.record = Tracked(WEB, "p", "c1", "", "hash", "boot", NOW, epoch=3)
        self.tracked.save(self.record)
        docker: Any = self.docker
        nothing: Any = None
        self.departures = Departures("n1", nothing, docker, self.tracked)

    async def live(self, wish: dict[str, Any]) -> None:
        """An agent sees the migration, and lives until Docker was told."""
        orders: Any = Orders(wish)
        self.departures._orders = orders
        running = asyncio.create_task(self.departures.run())
        try:
            async with asyncio.timeout(20):
                await self.docker.told.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def wish(phase: str = "Moving", **order: Any) -> dict[str, Any]:
    stop = {"node": "n1", "containerID": "c1", "epoch": 3, **order}
    return {
        "metadata": {"namespace": "default", "name": "move"},
        "spec": {"workload": "web", "to": {"node": "n2"}},
        "status": {"phase": phase, "stop": stop},
    }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def stands(node: Node, migration: Migration) -> bool:
    return node.departures.standing_order(migration) is not None


def test_an_order_stands_for_the_very_container_under_the_very_claim(node: Node) -> None:
    assert stands(node, parse_migration(wish()))
    for order in ({"node": "n2"}, {"containerID": "c2"}, {"epoch": 2}, {"withdrawnAt": stamp()}):
        assert not stands(node, parse_migration(wish(**order)))


def test_nothing_is_stopped_for_a_migration_that_is_over_given_up_or_deleted(node: Node) -> None:
    for phase in ("Pending", "PreCopying", "Restoring", "Done", "Failed"):
        assert not stands(node, parse_migration(wish(phase)))
    standing = parse_migration(wish())
    assert standing.phase is MigrationPhase.MOVING
    assert not stands(node, replace(standing, failure="n2 was lost"))
    assert not stands(node, replace(standing, deleting=True))


def test_what_is_being_stopped_or_has_ended_is_left_alone(node: Node) -> None:
    node.record.stop_requested = True
    assert not stands(node, parse_migration(wish()))
    node.record.stop_requested = False
    node.record.end = {"how": "Exited"}
    assert not stands(node, parse_migration(wish()))


async def test_it_is_stopped_again_when_that_did_not_work(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmkeep.agent.departures.LOOK_S", 0.05)
    node.docker.failures = [Unavailable("Docker is away")]
    await node.live(wish())
    assert set(node.docker.stopped) == {"c1"}


async def test_a_container_that_is_gone_harms_nobody(node: Node) -> None:
    node.docker.failures = [NotFound("it is gone")]
    await node.live(wish())
    assert node.docker.stopped == []
