"""A cached version becomes the next one: given to one at a time, and never lost for nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from swarmkeep.agent.bases import Bases
from swarmkeep.agent.image_cache import ImageCache

from ..objects import policy
from .places import WL, Places


class Node:
    """A cache with version 1 in it."""

    def __init__(self, root: Path) -> None:
        self.places = Places(root)
        self.places.put("main", 1)
        self.cache = ImageCache(root / "images", "boot", 1 << 30)
        self.bases = Bases(self.places.locations, self.cache)
        self.policy = policy(storage=["main"])
        self.places.repository("main").get(str(WL), 1, self.cache.path(WL, 1))
        self.cache.mark(WL, 1, datetime.now(UTC))

    async def given(self, number: int) -> list[int]:
        """The version that is given away for making `number`."""
        async with self.bases.before(WL, self.policy, number) as found:
            assert all((base.folder / "layer/file").read_text() == "version 1" for base in found)
            folders = [base.folder for base in found]
            given = [base.manifest.version for base in found]
        assert not any(folder.exists() for folder in folders)
        return given


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_an_older_version_is_given_away_once(node: Node) -> None:
    assert await node.given(2) == [1]
    assert node.cache.newest(WL) is None
    assert await node.given(2) == []


async def test_the_same_or_a_newer_version_stays(node: Node) -> None:
    assert await node.given(1) == []
    assert node.cache.find(WL, 1) is not None


async def test_one_that_is_in_use_stays(node: Node) -> None:
    with node.cache.using(WL, 1):
        assert await node.given(2) == []
    assert node.cache.find(WL, 1) is not None


async def test_one_that_nobody_can_tell_anything_of_stays(node: Node) -> None:
    node.places.vanish("main")
    assert await node.given(2) == []
    assert node.cache.find(WL, 1) is not None


async def test_what_was_noted_serves_though_storage_has_deleted_it(node: Node) -> None:
    node.bases.note(WL, node.places.repository("main").manifest(str(WL), 1))
    node.places.repository("main").delete(str(WL), 1)
    assert await node.given(2) == [1]


async def test_two_that_want_it_do_not_both_get_it(node: Node) -> None:
    given = await asyncio.gather(node.given(2), node.given(3))
    assert sorted(given) == [[], [1]]
