"""Copies to further locations: made in the background, as often as it takes, and never left over."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmkeep.agent.copier import Copier
from swarmkeep.agent.copies import Copies
from swarmkeep.agent.copy_reports import Entry
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import Conflict, NotFound, StorageFull, Unavailable
from swarmkeep.model.checkpoint import CopyState
from swarmkeep.model.ident import Ref
from swarmkeep.store.blob_faulty import Crashed, FaultyBlobStore
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.pack import HEADER_BYTES
from swarmkeep.store.repository import Repository

from ..objects import policy
from .places import WL, Places

BOTH = ("main", "far")


class Told:
    """Stands for CopyReports: the last that was said of each version in each location."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}

    def forget(self) -> None:
        pass

    async def tell(self, workload: Ref, entries: dict[int, Entry]) -> frozenset[int]:
        for number, entry in entries.items():
            if entry.state != self.state(number, entry.location):
                self.entries[entry.location, number] = entry
        return frozenset()

    def state(self, number: int, location: str = "far") -> str:
        entry = self.entries.get((location, number))
        return str(entry.state) if entry else ""


class Node:
    """A node with its journals; `live` runs its copier, and each life starts from what lies on the disk."""

    def __init__(self, root: Path, places: Places) -> None:
        self.root = root
        self.places = places
        self.told = Told()
        self.cache = ImageCache(root / "images", "boot", 1 << 30)
        self.tracked = TrackedContainers(Journal(root / "containers"))
        self.policy = policy(storage=list(places.names))

    def track(self) -> Tracked:
        tracked = Tracked(WL, "redis", "c", "t", "hash", "boot", datetime.now(UTC), epoch=1)
        self.tracked.save(tracked)
        return tracked

    def copies(self) -> Copies:
        return Copies(self.places.locations, Journal(self.root / "copies"), self.root / "copying", self.cache)

    @contextlib.asynccontextmanager
    async def live(self) -> AsyncIterator[Copier]:
        desired: Any = SimpleNamespace(policy=lambda ref: self.policy)
        told: Any = self.told
        copier = Copier(
            desired, self.places.locations, self.tracked, Journal(self.root / "replicated"), self.copies(), told
        )
        task = asyncio.create_task(copier.run())
        try:
            yield copier
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@pytest.fixture
def node(tmp_path: Path, places: Places) -> Node:
    return Node(tmp_path / "node", places)


async def until(what: Callable[[], bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not what():  # noqa: ASYNC110 - what is waited for lies on a disk
            await asyncio.sleep(0.02)


async def test_a_stored_version_is_copied_byte_for_byte_and_said_to_be_there(node: Node, places: Places) -> None:
    tracked = node.track()
    async with node.live() as copier:
        places.put("main", 1)
        copier.stored(WL, BOTH)
        await until(lambda: node.told.state(1) == "Stored")
    entry = node.told.entries["far", 1]
    assert entry.stored_at is not None
    assert entry.bytes
    first, second = (places.repository(name).manifest(str(WL), 1) for name in BOTH)
    assert (first.facts, first.taken_at, first.entries) == (second.facts, second.taken_at, second.entries)
    places.repository("far").get(str(WL), 1, node.root / "got")
    assert (node.root / "got/layer/file").read_text() == "version 1"
    assert tracked.replicas == [{"location": "far", "version": 1, "takenAt": first.facts["takenAt"]}]
    assert not any((node.root / "copying").rglob("*.img"))


async def test_a_copy_shares_pages_with_the_versions_that_are_there(node: Node, places: Places) -> None:
    pages = b"".join(number.to_bytes(4) * 1024 for number in range(512))
    node.track()
    async with node.live() as copier:
        places.put("main", 1, pages)
        copier.stored(WL, BOTH)
        await until(lambda: node.told.state(1) == "Stored")
        places.put("main", 2, pages[:-4096] + b"new!" * 1024)
        copier.stored(WL, BOTH)
        await until(lambda: node.told.state(2) == "Stored")
    big, small = node.told.entries["far", 1].bytes, node.told.entries["far", 2].bytes
    assert big is not None
    assert small is not None
    assert small < big / 5


async def test_versions_that_a_newer_one_overtook_are_left_out_and_that_is_said(node: Node, places: Places) -> None:
    node.track()
    for number in (1, 2, 3):
        places.put("main", number, reason="Final" if number == 1 else "Schedule")
    async with node.live() as copier:
        copier.stored(WL, BOTH)
        await until(lambda: node.told.state(1) == "Stored")
    assert places.numbers("far") == [1, 3]
    assert node.told.entries["far", 2] == Entry("far", CopyState.PENDING, message="newer versions went first")


async def test_a_location_that_vanishes_is_told_of_and_catches_up_when_it_is_back(node: Node, places: Places) -> None:
    tracked = node.track()
    places.vanish("far")
    places.put("main", 1)
    async with node.live() as copier:
        copier.stored(WL, BOTH)
        await until(lambda: bool(tracked.replicas))
        assert "is it mounted?" in tracked.replicas[0]["message"]
        assert "version" not in tracked.replicas[0]
        assert list((places.root / "far").iterdir()) == []
        places.come_back("far")
        await until(lambda: node.told.state(1) == "Stored")
        assert "message" not in tracked.replicas[0]


async def test_a_location_that_hangs_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(tmp_path, "main", "far", "near")
    node = Node(tmp_path / "node", places)
    node.track()
    call = places.locations.call

    async def hanging(name: str, work: Any, limit_s: float) -> Any:
        if name == "far":
            await asyncio.sleep(1000)
        return await call(name, work, limit_s)

    monkeypatch.setattr(places.locations, "call", hanging)
    async with node.live() as copier:
        for number in (1, 2):
            places.put("main", number)
            copier.stored(WL, places.names)
            await until(lambda number=number: node.told.state(number, "near") == "Stored")  # type: ignore[misc]


async def test_a_task_that_ended_leaves_its_copies_to_be_made_even_by_the_next_life(node: Node, places: Places) -> None:
    places.vanish("far")
    places.put("main", 1, reason="Final")
    async with node.live() as copier:
        copier.stored(WL, BOTH)
    places.come_back("far")
    async with node.live():
        await until(lambda: node.told.state(1) == "Stored")
        await until(lambda: not list(Journal(node.root / "replicated").items()))
    assert places.numbers("far") == [1]


async def test_another_node_that_runs_the_workload_copies_what_a_dead_one_left(node: Node, places: Places) -> None:
    places.put("main", 1)
    node.track()
    async with node.live():
        await until(lambda: node.told.state(1) == "Stored")


async def test_a_version_that_is_damaged_is_not_copied_and_the_older_ones_are(node: Node, places: Places) -> None:
    node.track()
    places.put("main", 1, reason="Final")
    places.put("main", 2, b"other" * 8192)
    newest = max((places.root / "main/packs").rglob("*-*"), key=lambda path: path.stat().st_mtime_ns)
    content = bytearray(newest.read_bytes())
    content[HEADER_BYTES + 1] ^= 1
    newest.chmod(0o600)
    newest.write_bytes(content)
    async with node.live():
        await until(lambda: node.told.state(1) == "Stored" and node.told.state(2) == "Failed")
    assert places.numbers("far") == [1]
    assert node.told.entries["far", 2].message


async def test_another_version_of_the_same_number_is_left_alone(node: Node, places: Places) -> None:
    node.track()
    places.put("main", 1)
    places.put("far", 1, b"mine" * 1024, specHash="other")
    with pytest.raises(Conflict):
        await node.copies().make(WL, 1, BOTH, "far")
    assert not list(Journal(node.root / "copies").items())
    assert places.repository("far").manifest(str(WL), 1).facts["specHash"] == "other"


async def test_a_copy_that_comes_after_its_version_was_deleted_is_taken_back(
    node: Node, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("main", 1)
    put = Repository.put

    def deleted_meanwhile(self: Repository, *words: Any, **more: Any) -> Any:
        # The order in which an agent deletes: first location first.
        places.repository("main").delete(str(WL), 1)
        places.repository("far").delete(str(WL), 1)
        return put(self, *words, **more)

    monkeypatch.setattr(Repository, "put", deleted_meanwhile)
    with pytest.raises(NotFound, match="deleted while"):
        await node.copies().make(WL, 1, BOTH, "far")
    assert places.numbers("far") == []


async def dies(self: Copies, key: str) -> bool:
    """The agent's end between a copy and the look whether it may stay."""
    raise asyncio.CancelledError


async def test_the_next_life_takes_a_late_copy_back(
    node: Node, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("main", 1)
    with monkeypatch.context() as patched:
        patched.setattr(Copies, "_settle", dies)
        with pytest.raises(asyncio.CancelledError):
            await node.copies().make(WL, 1, BOTH, "far")
    assert places.numbers("far") == [1]
    places.repository("main").delete(str(WL), 1)
    next_life = node.copies()
    places.vanish("main")
    with pytest.raises(Unavailable):
        await next_life.settle("far")
    assert places.numbers("far") == [1]
    places.come_back("main")
    await next_life.settle("far")
    assert places.numbers("far") == []
    assert not list(Journal(node.root / "copies").items())


async def test_a_first_location_that_was_replaced_by_an_empty_one_costs_no_copy(
    node: Node, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("main", 1)
    with monkeypatch.context() as patched:
        patched.setattr(Copies, "_settle", dies)
        with pytest.raises(asyncio.CancelledError):
            await node.copies().make(WL, 1, BOTH, "far")
    places.vanish("main")
    Repository.open(LocalBlobStore(places.root / "main"), create=True)
    places.publish()
    await node.copies().settle("far")
    assert places.numbers("far") == [1]


async def test_no_room_on_the_node_is_an_error_before_anything_is_read(
    node: Node, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("main", 1)
    monkeypatch.setattr("swarmkeep.agent.room.free_bytes", lambda folder: 100)
    with pytest.raises(StorageFull, match="no room"):
        await node.copies().make(WL, 1, BOTH, "far")
    assert places.numbers("far") == []


async def test_a_damaged_original_is_read_from_another_location(tmp_path: Path) -> None:
    places = Places(tmp_path, "main", "far", "third")
    node = Node(tmp_path / "node", places)
    places.put("main", 1)
    await node.copies().make(WL, 1, places.names, "far")
    for pack in (tmp_path / "main/packs").rglob("*-*"):
        pack.chmod(0o600)
        pack.write_bytes(b"rubbish")
    await node.copies().make(WL, 1, places.names, "third")
    assert places.numbers("third") == [1]


async def test_a_version_that_the_node_has_ready_is_not_read_again(
    node: Node, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("main", 1)
    ready = node.root / "ready"
    places.repository("main").get(str(WL), 1, ready)
    node.cache.adopt(WL, 1, datetime.now(UTC), ready)

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("packs are read")

    with monkeypatch.context() as patched:
        patched.setattr(Repository, "get", read)
        await node.copies().make(WL, 1, BOTH, "far")
    first, second = (places.repository(name).manifest(str(WL), 1) for name in BOTH)
    assert (first.facts, first.entries) == (second.facts, second.entries)
    assert node.cache.find(WL, 1) is not None


class Faulty:
    """Stands for Locations: `far` goes wrong as its map says."""

    def __init__(self, places: Places, faults: str) -> None:
        self.far = FaultyBlobStore(LocalBlobStore(places.root / "far"), faults)
        self.places = places

    async def call(self, name: str, work: Callable[[Repository], Any], limit_s: float) -> Any:
        if name == "main":
            return work(self.places.repository("main"))
        # Opened before anything goes wrong, as a location that is in use is.
        return work(Repository(self.far, self.places.repository("far").location_id))


@pytest.mark.parametrize("fault", ["X", "Y", "E", "e", "F"])
async def test_whatever_step_it_dies_or_fails_at_the_next_try_ends_with_one_good_copy(
    tmp_path: Path, fault: str
) -> None:
    for step in range(30):
        (tmp_path / str(step)).mkdir()
        places = Places(tmp_path / str(step))
        node = Node(tmp_path / str(step) / "node", places)
        places.put("main", 1, os.urandom(100_000))
        trouble: Any = Faulty(places, "r" * step + fault)
        first = Copies(trouble, Journal(node.root / "copies"), node.root / "copying", node.cache)
        with contextlib.suppress(Crashed, Unavailable, StorageFull, NotFound):
            await first.make(WL, 1, BOTH, "far")
        next_life = node.copies()
        await next_life.settle("far")
        await next_life.make(WL, 1, BOTH, "far")
        assert places.numbers("far") == [1]
        assert places.repository("far").verify(str(WL), 1) == ()
        assert not list(Journal(node.root / "copies").items())
        if trouble.far.calls <= step:
            break
    else:
        raise AssertionError("a copy takes more than 30 calls")
    assert step > 4


async def test_each_location_encrypts_with_its_own_key_or_not_at_all(tmp_path: Path) -> None:
    places = Places(tmp_path)
    node = Node(tmp_path / "node", places)
    (tmp_path / "sealed").mkdir()
    sealed = Repository.open(
        LocalBlobStore(tmp_path / "sealed"), create=True, keyring=Keyring(LocationKey(bytes(range(32))))
    )
    secret = b"the password" * 400
    places.put("main", 1, secret)

    class Both:
        async def call(self, name: str, work: Callable[[Repository], Any], limit_s: float) -> Any:
            return work(sealed if name == "sealed" else places.repository(name))

    both: Any = Both()
    copies = Copies(both, Journal(node.root / "copies"), node.root / "copying", node.cache)
    await copies.make(WL, 1, ("main", "sealed"), "sealed")
    await copies.make(WL, 1, ("sealed", "far"), "far")
    sealed.get(str(WL), 1, tmp_path / "got")
    assert (tmp_path / "got/image/pages-1.img").read_bytes() == secret
    assert places.repository("far").manifest(str(WL), 1).entries == sealed.manifest(str(WL), 1).entries
    assert not any(
        b"takenAt" in path.read_bytes() for path in (tmp_path / "sealed/manifests").rglob("*") if path.is_file()
    )
