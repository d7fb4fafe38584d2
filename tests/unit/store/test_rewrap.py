"""Rotation: data keys go under a new key of the location while everybody goes on reading, writing and dying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swarmkeep.errors import SwarmKeepError, WrongKey
from swarmkeep.store.blob_faulty import Crashed, FaultyBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.deadline import Stopped
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.repository import Repository
from swarmkeep.store.vault import Rewrapped

W = "default/redis.1"
OLD = LocationKey(bytes(range(32)), "/etc/old.key")
NEW = LocationKey(bytes(range(1, 33)), "/etc/new.key")
BOTH = Keyring(NEW, [OLD])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a").write_bytes(b"a" * 10_000)
    return folder


def with_versions(source: Path, *versions: int) -> tuple[MemoryBlobStore, Repository]:
    """A location under the old key, and how a node sees it whose current key is the new one."""
    blobs = MemoryBlobStore()
    old = Repository.open(blobs, create=True, keyring=Keyring(OLD))
    for version in versions:
        old.put(W, version, source, {"version": version})
    return blobs, Repository.open(blobs, create=False, keyring=BOTH)


def under(blobs: MemoryBlobStore) -> list[tuple[int, str]]:
    """Generation and key of each envelope."""
    names = {OLD.id: "old", NEW.id: "new"}
    parts = [info.key.rpartition("/")[2].split("-") for info in blobs.list("keys/")]
    return sorted((int(generation), names[key_id]) for _, generation, key_id in parts)


def others(blobs: MemoryBlobStore) -> dict[str, bytes]:
    return {info.key: blobs.get(info.key, 1 << 30) for info in blobs.list("") if not info.key.startswith("keys/")}


def test_every_data_key_goes_under_the_new_key_and_nothing_else_changes(source: Path) -> None:
    blobs, repository = with_versions(source, 1, 2, 3)
    before = others(blobs)

    assert repository.rewrap() == Rewrapped(3, 0)
    assert repository.rewrap() == Rewrapped(0, 0)

    assert under(blobs) == [(2, "new")] * 3
    assert others(blobs) == before
    only_new = Repository.open(blobs, create=False, keyring=Keyring(NEW))
    assert [only_new.manifest(W, version).facts["version"] for version in (1, 2, 3)] == [1, 2, 3]
    with pytest.raises(WrongKey):
        Repository.open(blobs, create=False, keyring=Keyring(OLD)).manifest(W, 1)


def test_versions_go_on_sharing_pages_over_a_rotation(source: Path) -> None:
    _, repository = with_versions(source, 1)

    assert repository.put(W, 2, source, {}).new_bytes == 0
    repository.rewrap()
    assert repository.put(W, 3, source, {}).new_bytes == 0


def test_a_rotation_can_be_turned_back(source: Path) -> None:
    blobs, repository = with_versions(source, 1)
    repository.rewrap()

    back = Repository.open(blobs, create=False, keyring=Keyring(OLD, [NEW]))
    assert back.rewrap() == Rewrapped(1, 0)

    assert under(blobs) == [(3, "old")]
    assert Repository.open(blobs, create=False, keyring=Keyring(OLD)).verify(W, 1) == ()


def test_a_plain_location_has_nothing_to_rewrap() -> None:
    assert Repository.open(MemoryBlobStore(), create=True).rewrap() == Rewrapped(0, 0)


@pytest.mark.parametrize("fault", list("XYEeFT"))
def test_one_that_fails_at_any_step_loses_no_key_and_the_next_one_finishes(source: Path, fault: str) -> None:
    step = 0
    while True:
        blobs, repository = with_versions(source, 1, 2)
        faulty = FaultyBlobStore(blobs, "r" * step + fault)
        try:
            Repository(faulty, repository.location_id, BOTH).rewrap()
            failed = False
        except (SwarmKeepError, Crashed):
            failed = True

        for version in (1, 2):
            assert repository.manifest(W, version).facts == {"version": version}
        assert repository.rewrap().left == 0
        assert set(under(blobs)) <= {(2, "new"), (3, "new")}
        assert len(under(blobs)) == 2
        assert Repository.open(blobs, create=False, keyring=Keyring(NEW)).verify(W, 1) == ()
        if not failed and faulty.calls <= step:
            assert step >= 9
            return
        step += 1


def test_a_data_key_that_this_node_cannot_open_stays_and_is_counted(source: Path) -> None:
    blobs, repository = with_versions(source, 1)
    third = LocationKey(bytes(range(2, 34)), "/etc/third.key")
    newest = Repository.open(blobs, create=False, keyring=Keyring(third, [NEW, OLD]))
    newest.put(W, 2, source, {})

    done = repository.rewrap()

    assert (done.rewrapped, done.left) == (1, 1)
    assert f"encrypted with key {third.id}" in done.problem
    assert newest.verify(W, 2) == ()


def test_a_damaged_envelope_is_made_good_from_an_older_one_that_is_left(source: Path) -> None:
    blobs, repository = with_versions(source, 1)
    (old,) = [info.key for info in blobs.list("keys/")]
    kept = blobs.get(old, 1000)
    repository.rewrap()
    (new,) = [info.key for info in blobs.list("keys/")]
    damaged = blobs.get(new, 1000)[:-1]
    blobs.delete(new)
    blobs.put(new, [damaged])

    assert repository.rewrap() == Rewrapped(0, 0), "what is under the current key alone is not read again and again"
    blobs.put(old, [kept])
    assert repository.manifest(W, 1).facts == {"version": 1}
    assert repository.rewrap() == Rewrapped(1, 0)
    assert under(blobs) == [(3, "new")]
    assert repository.verify(W, 1) == ()


def test_a_data_key_is_never_lost_to_damage_alone(source: Path) -> None:
    blobs, repository = with_versions(source, 1)
    (key,) = [info.key for info in blobs.list("keys/")]
    damaged = blobs.get(key, 1000)[:-1]
    blobs.delete(key)
    blobs.put(key, [damaged])

    done = repository.rewrap()

    assert (done.rewrapped, done.left) == (0, 1)
    assert "cut short" in done.problem
    assert under(blobs) == [(1, "old")]


def test_nodes_that_disagree_on_the_current_key_never_lose_a_data_key(source: Path) -> None:
    blobs, repository = with_versions(source, 1)
    other = Repository.open(blobs, create=False, keyring=Keyring(OLD, [NEW]))

    class Overtaken(MemoryBlobStore):
        """Before each of its calls the other node rewraps everything its own way."""

        def __init__(self) -> None:
            self.__dict__ = blobs.__dict__

        def get(self, key: str, max_bytes: int) -> bytes:
            if key.startswith("keys/"):
                other.rewrap()
            return super().get(key, max_bytes)

        def delete(self, key: str) -> None:
            other.rewrap()
            super().delete(key)

    for _ in range(5):
        Repository(Overtaken(), repository.location_id, BOTH).rewrap()
        assert repository.manifest(W, 1) == other.manifest(W, 1)
        assert under(blobs)


def test_a_reader_is_not_disturbed(source: Path, tmp_path: Path) -> None:
    blobs, repository = with_versions(source, 1)

    class Overtaken(MemoryBlobStore):
        def __init__(self) -> None:
            self.__dict__ = blobs.__dict__
            self.lists = 0

        def get(self, key: str, max_bytes: int) -> bytes:
            if key.startswith("keys/"):
                repository.rewrap()
            return super().get(key, max_bytes)

    for keyring in (BOTH, Keyring(OLD, [NEW])):
        Repository(Overtaken(), repository.location_id, keyring).get(W, 1, tmp_path / "back")
        assert (tmp_path / "back/a").read_bytes() == b"a" * 10_000


def test_a_writer_is_not_disturbed(source: Path) -> None:
    blobs, repository = with_versions(source, 1)

    class Overtaken(MemoryBlobStore):
        def __init__(self) -> None:
            self.__dict__ = blobs.__dict__

        def put(self, key: str, chunks: object) -> int:
            repository.rewrap()
            size = super().put(key, chunks)  # type: ignore[arg-type]
            repository.rewrap()
            return size

    Repository(Overtaken(), repository.location_id, Keyring(OLD)).put(W, 2, source, {})

    assert under(blobs) == [(2, "new")] * 2
    assert repository.verify(W, 2) == ()


def test_what_a_rewrap_leaves_of_a_version_that_was_deleted_meanwhile_is_swept(source: Path) -> None:
    blobs, repository = with_versions(source, 1)

    class Overtaken(MemoryBlobStore):
        def __init__(self) -> None:
            self.__dict__ = blobs.__dict__

        def put(self, key: str, chunks: object) -> int:
            repository.delete(W, 1)
            return super().put(key, chunks)  # type: ignore[arg-type]

    Repository(Overtaken(), repository.location_id, BOTH).rewrap()

    assert under(blobs) == [(2, "new")]
    assert repository.sweep(now=1e12).blobs == 1
    assert under(blobs) == []


def stop_after(calls: int) -> Callable[[], bool]:
    left = [calls]

    def should_stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return should_stop


def test_one_that_is_told_to_stop_stops_between_two_keys_and_the_next_goes_on(source: Path) -> None:
    blobs, repository = with_versions(source, 1, 2, 3)

    with pytest.raises(Stopped):
        repository.rewrap(should_stop=stop_after(2))

    assert under(blobs) == [(1, "old"), (2, "new"), (2, "new")]
    assert repository.rewrap() == Rewrapped(1, 0)
