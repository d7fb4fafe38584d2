"""Taking versions while disks are full and storage is slow or gone: the container never stands still for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent.freezes import Freezes
from swarmkeep.agent.hooks import Hooks
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.agent.volume_switch import VolumeSwitch
from swarmkeep.agent.volumes import Volumes
from swarmkeep.errors import StorageFull
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.store.blob_local import LocalBlobStore

from ..objects import policy, stamp
from .places import WL, Places


class CountingFreezer:
    """Counts how often the container was frozen."""

    def __init__(self) -> None:
        self.freezes = 0
        self.frozen = False

    async def freeze(
        self, container_id: str, pid: int, *, keep: bool, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        if beforehand is not None:
            await beforehand()
        self.freezes += 1
        self.frozen = True

    async def thaw(self, container_id: str, pid: int) -> None:
        self.frozen = False


class Node:
    """One running container, and a dumper that writes a small image of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places = Places(root)
        self.freezer = CountingFreezer()
        self.cache = ImageCache(root / "images", "boot", 1 << 30)
        self.records: list[dict[str, Any]] = []
        self.copied: list[tuple[Ref, tuple[str, ...]]] = []
        self.tracked = TrackedContainers(Journal(root / "containers"))
        self.workload = Tracked(WL, "redis", "c1", "t1", "hash", "boot", datetime.now(UTC), epoch=1)
        self.tracked.save(self.workload)
        self.policy = policy(storage=["main", "far"])
        self.image_bytes = 8192
        (root / "upper").mkdir()
        facts = SimpleNamespace(id="c1", name="redis", pid=1, running=True, upper_dir=root / "upper", labels={}, raw={})

        async def cached(container_id: str) -> Any:
            return facts

        async def begin(request: Any) -> Any:
            return None

        async def dump(request: Any, begun: Any) -> Any:
            assert self.freezer.frozen
            (request.image_dir / "pages-1.img").write_bytes(b"p" * self.image_bytes)
            return SimpleNamespace(stats_status=dict)

        parts: dict[str, Any] = {
            "node": "n1",
            "host": {},
            "staging": root / "staging",
            "containers": SimpleNamespace(cached=cached),
            "freezes": Freezes(self.freezer),
            "dumper": SimpleNamespace(begin=begin, dump=dump),
            "locations": self.places.locations,
            "tracked": self.tracked,
            "records": SimpleNamespace(add=self.records.append),
            "damage": SimpleNamespace(ever_of=lambda workload, location: frozenset()),
            "copier": SimpleNamespace(stored=lambda *words: self.copied.append(words)),
            "cache": self.cache,
            "volumes": Volumes(cast(Any, None), VolumeSwitch(Journal(root / "volumes")), ()),
            "hooks": Hooks(cast(Any, None), self.tracked),
        }
        self.taker = VersionTaker(**parts)

    async def take(self) -> None:
        await self.taker.take(self.workload, self.policy, Reason.SCHEDULE)

    def staged(self) -> list[Path]:
        return [path for path in (self.root / "staging").rglob("*") if path.is_file()]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_a_version_is_stored_cached_and_handed_on_for_copying(node: Node) -> None:
    await node.take()
    assert node.places.numbers("main") == [1]
    assert node.places.numbers("far") == []
    assert node.copied == [(WL, ("main", "far"))]
    assert node.cache.find(WL, 1) is not None
    assert node.staged() == []
    (record,) = node.records
    assert record["status"]["phase"] == "Stored"
    states = [(item["name"], item["state"]) for item in record["status"]["locations"]]
    assert states == [("main", "Stored"), ("far", "Pending")]
    assert not node.freezer.frozen


async def test_without_room_for_the_dump_the_container_is_not_frozen_at_all(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.take()
    frozen = node.freezer.freezes
    with monkeypatch.context() as patched:
        patched.setattr("swarmkeep.agent.room.free_bytes", lambda folder: 4096)
        patched.setattr("swarmkeep.agent.image_cache.free_bytes", lambda folder: 4096)
        await node.take()
    assert node.freezer.freezes == frozen
    assert node.workload.failure is not None
    assert node.workload.failure["reason"] == "StorageFull"
    assert "no room" in node.workload.failure["message"]
    # The cache has let go of what it had before that was said.
    assert node.cache.images() == []
    await node.take()
    assert node.workload.failure is None
    assert node.places.numbers("main")[-1] == 3


async def test_a_full_location_costs_the_version_and_nothing_else(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LocalBlobStore, key: str, chunks: Any) -> int:
        raise StorageFull("no space left for another version")

    with monkeypatch.context() as patched:
        patched.setattr(LocalBlobStore, "put", full)
        await node.take()
    assert not node.freezer.frozen
    assert node.workload.failure is not None
    assert node.workload.failure["reason"] == "StorageFull"
    assert [record["status"]["phase"] for record in node.records] == ["Failed"]
    assert (node.staged(), node.places.numbers("main"), node.copied) == ([], [], [])
    assert node.cache.images() == []
    await node.take()
    assert node.places.numbers("main") == [2]


async def test_a_location_that_is_away_costs_the_versions_until_it_is_back(node: Node) -> None:
    await node.take()
    node.places.vanish("main")
    for _ in range(2):
        await node.take()
        assert not node.freezer.frozen
        assert node.staged() == []
    assert node.workload.failures == 2
    assert list((node.places.root / "main").iterdir()) == []
    node.places.come_back("main")
    await node.take()
    assert node.workload.failures == 0
    assert node.places.numbers("main") == [1, 4]


async def test_a_further_location_that_hangs_or_is_gone_delays_no_version(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = node.places.locations.call

    async def hanging(name: str, work: Any, limit_s: float) -> Any:
        if name == "far":
            await asyncio.sleep(limit_s)
            raise TimeoutError
        return await call(name, work, limit_s)

    monkeypatch.setattr(node.places.locations, "call", hanging)
    begun = time.monotonic()
    await node.take()
    assert time.monotonic() - begun < 4
    begun = time.monotonic()
    await node.take()
    assert time.monotonic() - begun < 2
    assert node.places.numbers("main") == [1, 2]


async def test_a_version_of_an_earlier_task_is_not_the_newest_of_the_next(node: Node) -> None:
    staged = await node.taker.stage(node.workload, node.policy, Reason.SCHEDULE, final_limit_s=None)
    newest = {"number": 5, "takenAt": stamp(0), "specHash": "hash"}
    failure = {"reason": "DumpFailed", "message": "no", "consecutive": 2, "at": stamp(0)}
    started_at = datetime.now(UTC) - timedelta(days=1)
    following = Tracked(WL, "redis", "c2", "t2", "hash", "boot", started_at, epoch=2, newest=newest, failure=failure)
    following.failed_restores = {"4": 1}
    node.tracked.save(following)
    await node.taker.store(staged)
    assert node.places.numbers("main") == [staged.number]
    assert (following.newest, following.failure, following.failed_restores) == (newest, failure, {"4": 1})


async def test_numbers_go_on_from_those_of_any_location(node: Node) -> None:
    node.places.put("far", 7)
    await node.take()
    assert node.places.numbers("main") == [8]
