"""How a task is brought up."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.folder_update import Base
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

from ..objects import stamp
from .room import FENCE_AFTER, IN_THE_ROOM, REDIS, ShimIn, room

pytestmark = IN_THE_ROOM


@pytest.mark.parametrize(
    ("pages", "can", "lazily"), [("Lazy", True, True), ("Lazy", False, False), ("Eager", True, False)]
)
async def test_memory_comes_on_demand_where_the_policy_wants_it_and_the_node_can(
    tmp_path: Path, shim_in: ShimIn, pages: str, can: bool, lazily: bool
) -> None:
    machine = room(tmp_path, shim_in, 1, claim="", lastEnd={"how": "Stopped", "at": stamp(900)})
    machine.policy["spec"]["restore"]["pages"] = pages
    machine.lazy_pages = can
    container = machine.container("c1")
    async with machine.life():
        assert await machine.start(container) == ""
    assert container.came_up == ["restored v1"]
    assert [order["lazy"] for order in machine.orders] == [lazily]


async def test_a_version_that_is_here_becomes_the_newest_and_only_the_difference_is_read(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = room(tmp_path, shim_in, 1, 2, claim="", lastEnd={"how": "Stopped", "at": stamp(900)})
    cache = ImageCache(machine.state / "images", "boot", 1 << 30)
    repository = Repository.open(LocalBlobStore(machine.location), create=False)
    cache.mark(REDIS, 1, repository.get(str(REDIS), 1, cache.path(REDIS, 1)).taken_at)
    bases: list[Base | None] = []
    get = Repository.get

    def seen(self: Repository, *words: Any, base: Base | None = None, **options: Any) -> Manifest:
        bases.append(base)
        return get(self, *words, base=base, **options)

    monkeypatch.setattr(Repository, "get", seen)
    container = machine.container("c1")
    async with machine.life():
        assert await machine.start(container) == ""
    assert container.came_up == ["restored v2"]
    assert [base.manifest.version for base in bases if base is not None] == [1]


async def test_a_restore_that_outlasts_the_lease_is_ended_and_speaks_against_no_version(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = room(tmp_path, shim_in, 1, claim="", lastEnd={"how": "Stopped", "at": stamp(900)})
    machine.is_slow = True
    container = machine.container("c1")
    async with machine.life() as life:
        starting = asyncio.ensure_future(machine.start(container))
        await life.until("the restore to be under way", lambda: machine.orders)
        machine.lease_age = FENCE_AFTER
        assert "ran out while version 1 was restored" in await starting
        assert container.came_up == []
        # Connected again, the next task goes on from the very same version.
        machine.lease_age, machine.is_slow = timedelta(0), False
        again = machine.container("c2")
        assert await machine.start(again) == ""
        assert again.came_up == ["restored v1"]
        assert life.record().failed_restores == {}


async def test_a_policy_without_fencing_lets_it_come_up(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, claim="", lastEnd={"how": "Stopped", "at": stamp(900)})
    machine.policy["spec"]["fencing"] = "None"
    machine.is_slow = True
    container = machine.container("c1")
    async with machine.life() as life:
        starting = asyncio.ensure_future(machine.start(container))
        await life.until("the restore to be under way", lambda: machine.orders)
        machine.lease_age = FENCE_AFTER
        await asyncio.sleep(0.3)
        assert not machine.ended.is_set()
        machine.lease_age = timedelta(0)
        machine.ended.set()
        await starting
