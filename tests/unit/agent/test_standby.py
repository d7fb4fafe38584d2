"""A standby has the newest version ready, reads only what is new of it, and never gives out anything half made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.bases import Bases
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.standby import Standby
from swarmkeep.errors import DataError, NotFound, StorageFull, Unavailable
from swarmkeep.store.blob_local import LocalBlobStore

from ..objects import policy
from .places import WL, Places

PAGES = 2048
"""Of an image, 8 MiB."""


class Images:
    """Stands for Docker: the images that were asked for."""

    def __init__(self) -> None:
        self.wanted: list[str] = []
        self.away = False

    async def ensure_image(self, reference: str) -> None:
        if self.away:
            raise Unavailable("Docker is away")
        self.wanted.append(reference)


class Node:
    """A standby for the one workload."""

    def __init__(self, root: Path, limit_bytes: int = 1 << 30) -> None:
        self.places = Places(root)
        self.images = Images()
        self.cache = ImageCache(root / "images", "boot", limit_bytes)
        self.standby = self.next_life()
        self.content = bytearray(os.urandom(PAGES * 4096))

    def next_life(self) -> Standby:
        nothing: Any = None
        images: Any = self.images
        bases = Bases(self.places.locations, self.cache)
        return Standby("n2", nothing, nothing, self.places.locations, self.cache, bases, images, KnownDamage(nothing))

    def store(self, number: int, *changed_pages: int) -> None:
        for page in changed_pages:
            self.content[page * 4096 : page * 4096 + 4096] = os.urandom(4096)
        self.places.put("main", number, bytes(self.content), container={"Config": {"Image": "redis@sha256:1"}})

    async def make_ready(self, number: int) -> None:
        await self.standby.make_ready(WL, policy(storage=["main", "far"]), number)

    def assert_ready(self, number: int) -> None:
        found = self.cache.find(WL, number)
        assert found is not None
        assert (found / "image/pages-1.img").read_bytes() == bytes(self.content)
        assert (found / "layer/file").read_text() == f"version {number}"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def pack_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of what is read out of packs."""
    lengths: list[int] = []
    read = LocalBlobStore.read

    def counted(self: LocalBlobStore, key: str, offset: int, length: int) -> bytes:
        if key.startswith("packs/"):
            lengths.append(length)
        return read(self, key, offset, length)

    monkeypatch.setattr(LocalBlobStore, "read", counted)
    return lengths


async def test_the_next_version_costs_only_its_new_pages(node: Node, pack_bytes: list[int]) -> None:
    node.store(1)
    await node.make_ready(1)
    node.assert_ready(1)
    whole = sum(pack_bytes)
    node.store(2, 5, 700)
    pack_bytes.clear()
    await node.make_ready(2)
    node.assert_ready(2)
    assert sum(pack_bytes) < whole / 50
    assert node.cache.find(WL, 1) is None
    assert node.images.wanted == ["redis@sha256:1"] * 2
    pack_bytes.clear()
    await node.make_ready(2)
    assert pack_bytes == []


async def test_a_version_that_storage_has_deleted_still_serves_as_a_base(node: Node, pack_bytes: list[int]) -> None:
    node.store(1)
    await node.make_ready(1)
    node.store(2, 5)
    node.places.repository("main").delete(str(WL), 1)
    pack_bytes.clear()
    await node.make_ready(2)
    node.assert_ready(2)
    assert sum(pack_bytes) < PAGES * 4096 / 10


async def test_the_next_life_goes_on_from_what_is_ready(node: Node, pack_bytes: list[int]) -> None:
    node.store(1)
    await node.make_ready(1)
    node.store(2, 5)
    node.standby = node.next_life()
    pack_bytes.clear()
    await node.make_ready(2)
    node.assert_ready(2)
    assert sum(pack_bytes) < PAGES * 4096 / 10


async def test_a_damaged_base_is_not_built_upon(node: Node) -> None:
    node.store(1)
    await node.make_ready(1)
    pages = node.cache.path(WL, 1) / "image/pages-1.img"
    with pages.open("r+b") as file:
        file.write(b"wrong")
    node.store(2, 5)
    await node.make_ready(2)
    node.assert_ready(2)


async def test_a_base_that_is_in_use_stays_and_the_next_is_read_whole(node: Node) -> None:
    node.store(1)
    await node.make_ready(1)
    before = bytes(node.content)
    with node.cache.using(WL, 1):
        node.store(2, 5)
        await node.make_ready(2)
    node.assert_ready(2)
    kept = node.cache.find(WL, 1)
    assert kept is not None
    assert (kept / "image/pages-1.img").read_bytes() == before


async def test_the_second_location_serves_when_the_first_fails_half_way(node: Node) -> None:
    node.store(1)
    await node.make_ready(1)
    node.store(2, 5)
    node.places.put("far", 2, bytes(node.content))
    for pack in (node.places.root / "main/packs").rglob("*-*"):
        pack.chmod(0o600)
        pack.write_bytes(b"rubbish")
    await node.make_ready(2)
    node.assert_ready(2)


async def test_what_fails_leaves_nothing_half_made_and_succeeds_later(node: Node) -> None:
    node.store(1)
    await node.make_ready(1)
    node.store(2, 5)
    node.places.vanish("main")
    with pytest.raises((Unavailable, NotFound, DataError)):
        await node.make_ready(2)
    assert node.cache.find(WL, 2) is None
    node.places.come_back("main")
    await node.make_ready(2)
    node.assert_ready(2)
    assert {path.name for path in node.cache.path(WL, 2).parent.iterdir()} == {"v2", "v2.whole"}


async def test_an_image_that_could_not_be_pulled_is_pulled_later(node: Node) -> None:
    node.store(1)
    node.images.away = True
    with pytest.raises(Unavailable, match="Docker is away"):
        await node.make_ready(1)
    node.assert_ready(1)
    node.images.away = False
    await node.make_ready(1)
    await node.make_ready(1)
    assert node.images.wanted == ["redis@sha256:1"]


async def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    node = Node(tmp_path, limit_bytes=1 << 20)
    node.store(1)
    with pytest.raises(StorageFull, match=r"raise agent\.cacheBytes"):
        await node.make_ready(1)
    assert node.cache.images() == []
