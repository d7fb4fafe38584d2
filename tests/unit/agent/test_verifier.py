"""The node's part of verification: what goes first, what makes way, and that every order is answered once."""

from __future__ import annotations

import asyncio
import errno
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.mender import Mender
from swarmkeep.agent.trials import Trials
from swarmkeep.agent.tryouts import StoredTryouts
from swarmkeep.agent.verifier import Verifier
from swarmkeep.errors import Unavailable
from swarmkeep.kube.answers import ApiConflict, ApiForbidden, ApiNotFound
from swarmkeep.kube.client import Client, EventType, ObjectList, WatchEvent
from swarmkeep.model.checkpoint import Passed
from swarmkeep.plan.verification import Trial
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.repository import Repository

T = TypeVar("T")
W = "default/redis.1"


class Node:
    """The API and the storage as the verifier of node n1 sees them."""

    def __init__(self, repository: Repository, state: Path) -> None:
        self.repository = repository
        self.others: dict[str, Repository] = {}
        """Further locations."""
        self.state = state
        self.objects: dict[str, dict[str, Any]] = {}
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.refusals: list[Exception] = []
        self.gates: dict[str, threading.Event] = {}
        """Hold the first read of a version until the event is set."""
        self.begun: list[str] = []
        self.trial = Trial(Passed.PASSED, "2 processes came up", 2, 0.5)
        self.trial_error: Exception | None = None
        self.trial_folder: Path | None = None
        self.tried: list[str] = []
        self._revision = 1
        self._changes: asyncio.Queue[str] = asyncio.Queue()

    def order(self, number: int, *, wish: str = "", count: int = 1, how: str = "Full") -> None:
        name = f"redis.1-v{number}"
        order = {"number": count, "node": "n1", "how": how, **({"requestedAt": wish} if wish else {})}
        status = {"phase": "Stored", "version": number, "location": name, "verification": order}
        known = self.objects.get(name, {}).get("status", {}).get("verified")
        metadata = {"name": name, "namespace": "default", "uid": name}
        self._set(name, {"metadata": metadata, "spec": {"workload": "redis.1"}, "status": status}, known)

    def lose(self, number: int) -> None:
        self.objects[f"redis.1-v{number}"]["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"

    def take_back(self, number: int) -> None:
        obj = self.objects[f"redis.1-v{number}"]
        obj["status"].pop("verification")
        self._set(obj["metadata"]["name"], obj)

    async def list(self, *_: object, **__: object) -> ObjectList:
        return ObjectList([dict(obj) for obj in self.objects.values()], str(self._revision))

    async def watch(self, *_: object, on_open: Callable[[], None], **__: object) -> AsyncIterator[WatchEvent]:
        on_open()
        while True:
            name = await self._changes.get()
            yield WatchEvent(EventType.MODIFIED, self.objects[name])

    async def get(self, kind: object, name: str, namespace: str) -> dict[str, Any]:
        if name not in self.objects:
            raise ApiNotFound(name)
        return self.objects[name]

    async def patch(self, kind: object, name: str, patch: Any, namespace: str, **_: object) -> dict[str, Any]:
        if self.refusals:
            raise self.refusals.pop(0)
        obj = self.objects[name]
        verified = patch["status"]["verified"]
        self.answers.append((name, verified))
        self._set(name, obj, {**obj["status"].get("verified", {}), **verified})
        return obj

    async def try_version(self, _: object, fetch: Callable[[Path], Awaitable[Path]], what: str) -> Trial:
        """The room in which versions are tried."""
        if self.trial_error is not None:
            raise self.trial_error
        with tempfile.TemporaryDirectory() as folder:
            content = ((await fetch((self.trial_folder or Path(folder)) / "version")) / "image").read_bytes()
        assert content == b"bytes" * 1000
        self.tried.append(what)
        return self.trial

    async def call(self, location: str, work: Callable[[Repository], T], limit_s: float) -> T:
        """The name of the location says which version is read."""

        def held() -> T:
            self.begun.append(location)
            gate = self.gates.get(location)
            if gate is not None:
                assert gate.wait(10)
            return work(self.others.get(location, self.repository))

        return await asyncio.to_thread(held)

    def _set(self, name: str, obj: dict[str, Any], verified: Any = None) -> None:
        self._revision += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self._revision)}
        status = {**obj["status"], **({"verified": verified} if verified else {})}
        self.objects[name] = {**obj, "metadata": metadata, "status": status}
        self._changes.put_nowait(name)

    async def until(self, check: Callable[[], Any]) -> None:
        for _ in range(1000):
            if check():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it does not happen")

    @asynccontextmanager
    async def verifying(self) -> AsyncIterator[None]:
        client, locations = cast(Client, self), cast(Locations, self)
        mender = Mender(client, locations, Journal(self.state / "mended"), self.state / "mending")
        tryouts = StoredTryouts(locations, cast(Trials, self))
        verifier = Verifier("n1", client, locations, mender, tryouts, 1 << 30, timedelta(seconds=10))
        task = asyncio.create_task(verifier.run())
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def node(blobs: MemoryBlobStore, tmp_path: Path) -> Node:
    repository = Repository.open(blobs, create=True)
    source = tmp_path / "source"
    source.mkdir()
    (source / "image").write_bytes(b"bytes" * 1000)
    for number in (1, 2, 3):
        repository.put(W, number, source, {}, alone=True)
    return Node(repository, tmp_path / "state")


async def test_every_order_is_answered_once_the_wishes_first(node: Node) -> None:
    for number in (1, 2):
        node.order(number)
    node.order(3, wish="t1")
    async with node.verifying():
        await node.until(lambda: len(node.answers) == 3)
        await asyncio.sleep(0.1)
    assert [name for name, _ in node.answers] == ["redis.1-v3", "redis.1-v1", "redis.1-v2"]
    assert {answer["result"] for _, answer in node.answers} == {"Good"}
    assert node.answers[0][1]["requestedAt"] == "t1"


async def test_a_test_restore_reads_every_byte_and_tells_what_came_of_it(node: Node) -> None:
    node.order(1, how="Restore")
    async with node.verifying():
        await node.until(lambda: node.answers)
        node.trial = Trial(Passed.FAILED, "no such file")
        node.order(2, how="Restore")
        await node.until(lambda: len(node.answers) == 2)
    assert node.tried == ["default/redis.1-v1", "default/redis.1-v2"]
    passed, failed = (answer for _, answer in node.answers)
    assert (passed["result"], passed["how"], passed["restore"]["result"]) == ("Good", "Restore", "Passed")
    assert passed["restore"]["processes"] == 2
    assert passed["bytes"] > 0
    assert (failed["result"], failed["restore"]["message"]) == ("Unrestorable", "no such file")


async def test_a_disk_that_fails_in_a_test_restore_is_answered_as_trouble_and_the_work_goes_on(node: Node) -> None:
    node.trial_error = OSError(errno.EROFS, "Read-only file system")
    node.order(1, how="Restore")
    async with node.verifying():
        await node.until(lambda: node.answers)
        node.order(2)
        await node.until(lambda: len(node.answers) == 2)
    failed, good = (answer for _, answer in node.answers)
    assert "result" not in failed
    assert "Read-only file system" in failed["trouble"]
    assert good["result"] == "Good"


async def test_a_test_restore_on_a_full_disk_names_what_could_not_be_made(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.mkdir

    def full(path: Path, *args: Any, **options: Any) -> None:
        if path.name == "throw-away":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", full)
    node.trial_folder = node.state / "throw-away"
    node.order(1, how="Restore")
    async with node.verifying():
        await node.until(lambda: node.answers)
    assert "no space left on this node while making" in node.answers[0][1]["trouble"]


async def test_a_damaged_version_is_not_tried(node: Node, blobs: MemoryBlobStore) -> None:
    for pack in list(blobs.list("packs/")):
        blobs.delete(pack.key)
    node.order(1, how="Restore")
    async with node.verifying():
        await node.until(lambda: node.answers)
    assert node.tried == []
    ((_, answer),) = node.answers
    assert answer["result"] == "Damaged"
    assert "restore" not in answer


async def test_another_order_for_the_same_version_is_another_answer(node: Node) -> None:
    node.order(1)
    async with node.verifying():
        await node.until(lambda: len(node.answers) == 1)
        node.order(1, wish="t1", count=2)
        await node.until(lambda: len(node.answers) == 2)
    assert [answer["number"] for _, answer in node.answers] == [1, 2]


async def test_work_that_nobody_waits_for_makes_way_for_a_wish_and_is_done_after_it(node: Node) -> None:
    gate = node.gates["redis.1-v1"] = threading.Event()
    node.order(1)
    async with node.verifying():
        await node.until(lambda: node.begun == ["redis.1-v1"])
        node.order(2, wish="t1")
        await asyncio.sleep(0.1)
        gate.set()
        await node.until(lambda: len(node.answers) == 2)
    assert [name for name, _ in node.answers] == ["redis.1-v2", "redis.1-v1"]
    assert node.begun == ["redis.1-v1", "redis.1-v2", "redis.1-v1"]


async def test_an_order_that_is_taken_back_ends_its_work_without_an_answer(node: Node) -> None:
    gate = node.gates["redis.1-v1"] = threading.Event()
    node.order(1)
    async with node.verifying():
        await node.until(lambda: node.begun)
        node.take_back(1)
        await asyncio.sleep(0.1)
        gate.set()
        await asyncio.sleep(0.2)
    assert node.answers == []


async def test_damage_is_answered_with_the_files(node: Node, blobs: MemoryBlobStore) -> None:
    (pack,) = node.repository.manifest(W, 2).packs
    blobs.delete(f"packs/{W}/{pack.name}")
    node.order(2)
    async with node.verifying():
        await node.until(lambda: node.answers)
    (_, answer) = node.answers[0]
    assert answer["result"] == "Damaged"
    assert answer["problems"][0]["path"] == "image"


async def test_damage_is_healed_out_of_the_location_that_has_it_whole(node: Node, blobs: MemoryBlobStore) -> None:
    far = node.others["far"] = Repository.open(MemoryBlobStore(), create=True)
    far.put(W, 2, node.state.parent / "source", {})
    (pack,) = node.repository.manifest(W, 2).packs
    blobs.delete(f"packs/{W}/{pack.name}")
    node.order(2)
    where = [{"name": name, "state": "Stored"} for name in ("redis.1-v2", "far")]
    node.objects["redis.1-v2"]["status"]["locations"] = where
    node.objects["redis.1-v2"]["status"]["verification"]["locations"] = ["redis.1-v2", "far"]
    async with node.verifying():
        await node.until(lambda: node.answers)
    (_, answer) = node.answers[0]
    assert answer["result"] == "Repaired"
    looks = {each["name"]: each for each in answer["locations"]}
    assert looks["redis.1-v2"]["repairedFrom"] == "far"
    assert looks["far"]["result"] == "Good"
    assert node.repository.verify(W, 2) == ()


async def test_storage_that_is_away_is_answered_as_trouble(node: Node, blobs: MemoryBlobStore) -> None:
    blobs.delete("swarmkeep-location")
    for info in blobs.list("manifests/"):
        blobs.delete(info.key)
    node.order(2)
    async with node.verifying():
        await node.until(lambda: node.answers)
    (_, answer) = node.answers[0]
    assert "result" not in answer
    assert "is it mounted" in answer["trouble"]


async def test_a_version_that_is_deleted_meanwhile_gets_no_answer(node: Node) -> None:
    gate = node.gates["redis.1-v1"] = threading.Event()
    node.order(1)
    node.order(2)
    async with node.verifying():
        await node.until(lambda: node.begun)
        node.lose(1)
        gate.set()
        await node.until(lambda: node.answers)
    assert [name for name, _ in node.answers] == ["redis.1-v2"]


@pytest.mark.parametrize("refusal", [Unavailable("away"), ApiConflict("somebody was faster")])
async def test_an_answer_waits_until_the_api_takes_it(
    node: Node, refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmkeep.agent.verifier.RETRY_S", 0.01)
    node.refusals = [refusal, refusal]
    node.order(1)
    async with node.verifying():
        await node.until(lambda: node.answers)
    assert len(node.begun) == 1, "the bytes are not read again for that"


async def test_a_refused_answer_does_not_keep_the_others_waiting(node: Node) -> None:
    node.refusals = [ApiForbidden("given to another node")]
    node.order(1)
    node.order(2)
    async with node.verifying():
        await node.until(lambda: node.answers)
        await asyncio.sleep(0.1)
    assert [name for name, _ in node.answers] == ["redis.1-v2"]
    assert node.begun == ["redis.1-v1", "redis.1-v2"]
