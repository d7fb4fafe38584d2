from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.errors import (
    Conflict,
    CorruptData,
    DataError,
    HostError,
    InvalidObject,
    MissingData,
    NewerFormat,
    NotFound,
    StorageFull,
    SwarmKeepError,
    Unavailable,
)
from swarmkeep.store import manifest
from swarmkeep.store.blob_faulty import Crashed, FaultyBlobStore
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.deadline import Stopped
from swarmkeep.store.entry import Entry
from swarmkeep.store.folder_reader import FolderReader
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.keys import VersionKey
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository
from swarmkeep.store.sweeper import GRACE_S, Swept
from swarmkeep.store.writers import leave_mark, remove_mark

W = "default/redis.1"
KEYRING = Keyring(LocationKey(bytes(range(32))))
FACTS = {"specHash": "abc", "container": {"Name": "é", "n": [1, 2.5, None, True]}}


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture(params=[None, KEYRING], ids=["plain", "encrypted"])
def keyring(request: pytest.FixtureRequest) -> Keyring | None:
    keyring: Keyring | None = request.param
    return keyring


@pytest.fixture
def repository(blobs: MemoryBlobStore, keyring: Keyring | None) -> Repository:
    return Repository.open(blobs, create=True, keyring=keyring)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "a").write_bytes(b"a" * 10_000)
    (folder / "b").write_bytes(b"b")
    return folder


def pack_keys(blobs: MemoryBlobStore) -> list[str]:
    return sorted(info.key for info in blobs.list("packs/"))


def all_keys(blobs: MemoryBlobStore) -> list[str]:
    """All but those that an encrypted location has for ever."""
    return sorted(info.key for info in blobs.list("") if not info.key.startswith("location-keys/"))


def needed_packs(repository: Repository, workload: str) -> set[str]:
    versions = [repository.manifest(workload, version) for version in repository.versions(workload)]
    return {f"packs/{workload}/{pack.name}" for manifest in versions for pack in manifest.packs}


def overwrite(blobs: MemoryBlobStore, key: str, change: Callable[[bytes], bytes]) -> None:
    content = blobs.get(key, 1 << 30)
    blobs.delete(key)
    blobs.put(key, [change(content)])


class TestRoundTrip:
    def test_a_folder_comes_back_with_everything(
        self, tmp_path: Path, folder: Path, describe: Callable[[Path], dict[str, Any]]
    ) -> None:
        store = tmp_path / "store"
        store.mkdir()
        repository = Repository.open(LocalBlobStore(store), create=True)
        before = describe(folder)

        put = repository.put(W, 1, folder, FACTS)
        got = repository.get(W, 1, tmp_path / "back/v1")

        assert describe(tmp_path / "back/v1") == before
        assert got == put
        assert got.facts == FACTS
        assert os.listdir(tmp_path / "back") == ["v1"]

    def test_zeros_and_holes_take_no_storage_and_come_back_as_holes(
        self, tmp_path: Path, repository: Repository
    ) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "zeros").write_bytes(bytes(10 << 20))
        with (source / "sparse").open("wb") as file:
            file.truncate(1 << 40)
            file.seek(1 << 39)
            file.write(b"x")

        manifest = repository.put(W, 1, source, {})
        repository.get(W, 1, tmp_path / "back")

        assert manifest.new_bytes < 400
        assert manifest.stored_bytes < 2000
        assert manifest.logical_bytes == (10 << 20) + (1 << 40)
        assert (tmp_path / "back/zeros").stat().st_blocks == 0
        assert (tmp_path / "back/sparse").stat().st_size == 1 << 40
        assert (tmp_path / "back/sparse").stat().st_blocks <= 16

    def test_the_manifest_alone_says_what_is_in_a_version(self, repository: Repository, small: Path) -> None:
        taken_at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
        repository.put(W, 7, small, FACTS, taken_at=taken_at)

        manifest = repository.manifest(W, 7)

        assert (manifest.workload, manifest.version, manifest.taken_at) == (W, 7, taken_at)
        assert [entry.path for entry in manifest.entries] == [b".", b"a", b"b"]
        assert [entry.size for entry in manifest.entries] == [0, 10_000, 1]
        assert manifest.facts == FACTS

    def test_a_big_version_is_written_in_packs_of_bounded_size(self, tmp_path: Path) -> None:
        blobs = MemoryBlobStore()
        source = tmp_path / "source"
        source.mkdir()
        (source / "big").write_bytes(os.urandom(70 << 20))
        repository = Repository.open(blobs, create=True)

        manifest = repository.put(W, 1, source, {})
        repository.get(W, 1, tmp_path / "back")

        assert [pack.size < (33 << 20) + 200_000 for pack in manifest.packs] == [True, True, True]
        assert (tmp_path / "back/big").read_bytes() == (source / "big").read_bytes()


class TestPut:
    def test_a_version_that_exists_is_a_conflict_and_stays(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        first = repository.put(W, 1, small, {"n": 1})
        before = all_keys(blobs)

        with pytest.raises(Conflict, match="version 1 exists already"):
            repository.put(W, 1, small, {"n": 2})

        assert repository.manifest(W, 1) == first
        assert all_keys(blobs) == before

    def test_of_writers_of_one_version_exactly_one_wins(
        self, tmp_path: Path, small: Path, blobs: MemoryBlobStore, repository: Repository
    ) -> None:
        gate = threading.Barrier(4)
        outcomes: list[str] = []

        def write(number: int) -> None:
            first = True

            def wait() -> bool:
                nonlocal first
                if first:
                    first = False
                    gate.wait(10)
                return False

            try:
                repository.put(W, 1, small, {"n": number}, should_stop=wait)
                outcomes.append(f"won {number}")
            except Conflict:
                outcomes.append("lost")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert sorted(outcomes)[:3] == ["lost"] * 3
        assert outcomes.count(f"won {repository.manifest(W, 1).facts['n']}") == 1
        assert len(pack_keys(blobs)) == 1
        assert repository.verify(W, 1) == ()

    def test_a_manifest_that_storage_wrote_twice_for_us_is_ours(self, blobs: MemoryBlobStore, small: Path) -> None:
        class Repeating(MemoryBlobStore):
            def put(self, key: str, chunks: Any) -> int:
                content = b"".join(map(bytes, chunks))
                super().put(key, [content])
                return super().put(key, [content]) if key.startswith("manifests/") else len(content)

        repository = Repository.open(Repeating(), create=True)

        repository.put(W, 1, small, {})

        assert repository.verify(W, 1) == ()

    def test_a_crash_after_any_step_leaves_no_version_or_a_whole_one(
        self, tmp_path: Path, small: Path, keyring: Keyring | None
    ) -> None:
        steps = 0
        while True:
            for fault in "XY":
                blobs = MemoryBlobStore()
                repository = Repository.open(blobs, create=True, keyring=keyring)
                faulty = FaultyBlobStore(blobs, "r" * steps + fault)
                try:
                    Repository(faulty, repository.location_id, repository.keyring).put(W, 1, small, {})
                    finished = True
                except Crashed:
                    finished = False

                for version in repository.versions(W):
                    repository.get(W, version, tmp_path / "back")
                    assert (tmp_path / "back/a").read_bytes() == b"a" * 10_000
                if not finished:
                    taken = repository.versions(W)
                    repository.put(W, 2, small, {})
                    repository.sweep(now=1e12)
                    assert repository.versions(W) == [*taken, 2]
                    assert set(pack_keys(blobs)) == needed_packs(repository, W)
                    assert list(blobs.list("writers/")) == []
                    assert len(list(blobs.list("keys/"))) == (len(taken) + 1 if keyring else 0)
            if finished:
                assert steps >= 6
                return
            steps += 1

    @pytest.mark.parametrize("fault", list("EeFT"))
    def test_a_failure_at_any_step_leaves_no_version_or_a_whole_or_an_unusable_one(
        self, tmp_path: Path, small: Path, fault: str, keyring: Keyring | None
    ) -> None:
        for step in range(11):
            blobs = MemoryBlobStore()
            repository = Repository.open(blobs, create=True, keyring=keyring)
            faulty = Repository(FaultyBlobStore(blobs, "r" * step + fault), repository.location_id, repository.keyring)
            raised = None
            try:
                faulty.put(W, 1, small, {})
            except SwarmKeepError as error:
                raised = error

            if raised and not isinstance(raised, Unavailable):
                assert all_keys(blobs) == ["swarmkeep-location"]
            for version in repository.versions(W):
                try:
                    repository.get(W, version, tmp_path / f"back{step}")
                except DataError:
                    assert fault == "T"
                    assert not (tmp_path / f"back{step}").exists()
                    continue
                assert (tmp_path / f"back{step}/a").read_bytes() == b"a" * 10_000

    def test_a_full_disk_is_said_and_cleaned_up(
        self, blobs: MemoryBlobStore, repository: Repository, small: Path
    ) -> None:
        for step in (2, 3, 5):
            faulty = Repository(FaultyBlobStore(blobs, "r" * step + "F"), repository.location_id, repository.keyring)

            with pytest.raises(StorageFull):
                faulty.put(W, 1, small, {})

            assert all_keys(blobs) == ["swarmkeep-location"]

    def test_a_source_that_is_not_there_is_not_found(self, repository: Repository, tmp_path: Path, small: Path) -> None:
        for source in (tmp_path / "nothing", small / "a"):
            with pytest.raises(NotFound):
                repository.put(W, 1, source, {})

    def test_a_file_that_grows_while_it_is_read_fails_the_version(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        def grow() -> bool:
            with (small / "a").open("ab") as file:
                file.write(b"more")
            return False

        with pytest.raises(HostError, match="changed while"):
            repository.put(W, 1, small, {}, should_stop=grow)

        assert all_keys(blobs) == ["swarmkeep-location"]

    def test_facts_that_are_no_json_are_refused(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        for facts in ({"x": b"bytes"}, {"x": float("nan")}):
            with pytest.raises(InvalidObject, match="no JSON"):
                repository.put(W, 1, small, facts)
        assert all_keys(blobs) == ["swarmkeep-location"]

    def test_files_larger_than_any_version_are_refused(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(manifest, "MAX_PAGES", 3)

        with pytest.raises(InvalidObject, match="too many files or pages"):
            repository.put(W, 1, small, {})

        assert all_keys(blobs) == ["swarmkeep-location"]

    @pytest.mark.parametrize("workload", ["redis", "a/b/c", "../x", "a/..", "A/b", "a/", "/b", "a/-b", "a/b\n"])
    def test_a_workload_that_is_none_is_refused(self, repository: Repository, small: Path, workload: str) -> None:
        with pytest.raises(InvalidObject):
            repository.put(workload, 1, small, {})

    @pytest.mark.parametrize("version", [0, -1, 1_000_000_000])
    def test_a_version_that_is_none_is_refused(self, repository: Repository, small: Path, version: int) -> None:
        with pytest.raises(InvalidObject):
            repository.put(W, version, small, {})

    def test_who_asks_to_stop_is_heard_and_nothing_is_left(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        answers = iter([False, False, True])

        with pytest.raises(Stopped, match=r"storing default/redis\.1 version 1"):
            repository.put(W, 1, small, {}, should_stop=lambda: next(answers))

        assert all_keys(blobs) == ["swarmkeep-location"]

    def test_the_time_limit_ends_a_put(self, repository: Repository, small: Path) -> None:
        with pytest.raises(Stopped, match="longer than -1 s"):
            repository.put(W, 1, small, {}, limit_s=-1)

    def test_no_put_may_outlast_the_grace_time_of_garbage(self, repository: Repository, small: Path) -> None:
        with pytest.raises(InvalidObject, match="10800 s at most"):
            repository.put(W, 1, small, {}, limit_s=GRACE_S)


class TestGet:
    def test_a_flipped_bit_is_never_restored(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, pack_keys(blobs)[0], lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:])

        with pytest.raises(CorruptData, match="frame 0 was changed"):
            repository.get(W, 1, tmp_path / "target/v1")

        assert os.listdir(tmp_path / "target") == []

    def test_bytes_that_were_cut_short_are_damage(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, pack_keys(blobs)[0], lambda content: content[:30])

        with pytest.raises(CorruptData, match="cut short"):
            repository.get(W, 1, tmp_path / "v1")

    def test_bytes_that_are_gone_are_missing(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})
        blobs.delete(pack_keys(blobs)[0])

        with pytest.raises(MissingData):
            repository.get(W, 1, tmp_path / "v1")

    def test_a_version_that_does_not_exist_is_not_found(self, repository: Repository, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"no default/redis\.1 version 3"):
            repository.get(W, 3, tmp_path / "v3")

    def test_an_old_target_is_replaced_when_the_new_one_is_whole(
        self, repository: Repository, small: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "target"
        target.mkdir()
        (target / "old").write_bytes(b"old")
        repository.put(W, 1, small, {})

        repository.get(W, 1, target)

        assert sorted(os.listdir(target)) == ["a", "b"]
        assert sorted(os.listdir(tmp_path)) == ["small", "target"]

    def test_an_old_target_stays_when_the_new_one_is_damaged(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "target"
        target.mkdir()
        (target / "old").write_bytes(b"old")
        repository.put(W, 1, small, {})
        overwrite(blobs, pack_keys(blobs)[0], lambda content: bytes(len(content)))

        with pytest.raises(CorruptData):
            repository.get(W, 1, target)

        assert os.listdir(target) == ["old"]
        assert sorted(os.listdir(tmp_path)) == ["small", "target"]

    def test_a_full_disk_on_this_node_is_said_and_cleaned_up(
        self, repository: Repository, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        repository.put(W, 1, small, {})
        monkeypatch.setattr(os, "pwrite", full)

        with pytest.raises(StorageFull, match="on this node"):
            repository.get(W, 1, tmp_path / "target")

        assert os.listdir(tmp_path) == ["small"]

    def test_what_a_dead_process_left_beside_the_target_goes_with_the_next_get(
        self, repository: Repository, small: Path, tmp_path: Path
    ) -> None:
        (tmp_path / ".target.new-0123456789abcdef").mkdir()
        (tmp_path / ".target.old-0123456789abcdef").mkdir()
        (tmp_path / ".other.new-0123456789abcdef").mkdir()
        repository.put(W, 1, small, {})

        repository.get(W, 1, tmp_path / "target")

        assert sorted(os.listdir(tmp_path)) == [".other.new-0123456789abcdef", "small", "target"]

    def test_two_gets_of_one_target_do_not_disturb_each_other(
        self, repository: Repository, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})

        def meanwhile() -> bool:
            repository.get(W, 1, tmp_path / "target")
            return False

        repository.get(W, 1, tmp_path / "target", should_stop=meanwhile)

        assert sorted(os.listdir(tmp_path / "target")) == ["a", "b"]

    def test_who_asks_to_stop_is_heard_and_nothing_is_left(
        self, repository: Repository, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})

        with pytest.raises(Stopped):
            repository.get(W, 1, tmp_path / "target", should_stop=lambda: True)

        assert os.listdir(tmp_path) == ["small"]


class TestManifest:
    @pytest.fixture
    def repository(self, blobs: MemoryBlobStore) -> Repository:
        return Repository.open(blobs, create=True)

    def test_a_damaged_one_says_what_is_wrong(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        (key,) = (info.key for info in blobs.list("manifests/"))
        whole = blobs.get(key, 1 << 20)

        def read(content: bytes) -> None:
            overwrite(blobs, key, lambda _: content)
            repository.manifest(W, 1)

        with pytest.raises(CorruptData, match="cut short"):
            read(whole[:40])
        with pytest.raises(CorruptData, match="header"):
            read(whole[:20] + b"x" + whole[21:])
        with pytest.raises(CorruptData, match="cut short"):
            read(whole[:-1])
        with pytest.raises(CorruptData, match="too many"):
            read(whole + b"x")
        with pytest.raises(CorruptData, match="overwritten"):
            read(b"x" + whole[1:])
        with pytest.raises(CorruptData, match="a byte of it was changed"):
            read(whole[:-3] + b"x" + whole[-2:])
        with pytest.raises(NewerFormat, match="upgrade"):
            read(whole[:8] + b"\x03" + whole[9:])
        read(whole)

    def test_one_of_another_version_in_its_place_is_damage(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        blobs.put("manifests/default/redis.1/000000002", [blobs.get("manifests/default/redis.1/000000001", 1 << 20)])

        with pytest.raises(CorruptData, match=r"is that of default/redis\.1 version 1"):
            repository.manifest(W, 2)


class TestListing:
    def test_versions_and_workloads_are_those_with_a_manifest(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        for workload, version in ((W, 10), (W, 9), ("shop/db.1", 1)):
            repository.put(workload, version, small, {})
        blobs.put("manifests/default/redis.1/notes.txt", [b"a user's own"])
        blobs.put("packs/default/other.1/0123456789abcdef-000000", [b"unfinished"])

        assert repository.versions(W) == [9, 10]
        assert repository.versions("default/redis") == []
        assert repository.workloads() == [W, "shop/db.1"]


class TestDelete:
    def test_a_deleted_version_is_gone_with_its_bytes_and_the_others_stay(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        for version in (1, 2, 3):
            (small / "b").write_bytes(bytes([version]))
            repository.put(W, version, small, {})

        for version in (1, 1, 2):
            repository.delete(W, version)

        assert repository.versions(W) == [3]
        assert set(pack_keys(blobs)) == needed_packs(repository, W)
        assert len(pack_keys(blobs)) == 2
        repository.get(W, 3, tmp_path / "back")
        assert (tmp_path / "back/b").read_bytes() == b"\3"
        repository.delete(W, 3)
        assert all_keys(blobs) == ["swarmkeep-location"]

    def test_one_that_stops_after_any_step_leaves_the_version_whole_or_gone(
        self, small: Path, tmp_path: Path, keyring: Keyring | None
    ) -> None:
        for step in range(6):
            for fault in "XY":
                blobs = MemoryBlobStore()
                repository = Repository.open(blobs, create=True, keyring=keyring)
                repository.put(W, 1, small, {})
                faulty = Repository(
                    FaultyBlobStore(blobs, "r" * step + fault), repository.location_id, repository.keyring
                )
                with pytest.raises(Crashed):
                    faulty.delete(W, 1)

                if repository.versions(W):
                    repository.get(W, 1, tmp_path / "back")
                repository.delete(W, 1)
                repository.sweep(now=1e12)
                assert all_keys(blobs) == ["swarmkeep-location"]

    def test_a_version_with_a_damaged_manifest_can_be_deleted(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, "manifests/default/redis.1/000000001", lambda content: content[:-1])

        repository.delete(W, 1)

        assert repository.versions(W) == []
        repository.sweep(now=1e12)
        assert all_keys(blobs) == ["swarmkeep-location"]

    def test_nothing_goes_that_a_version_with_a_damaged_manifest_may_need(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        repository.put(W, 2, small, {})
        overwrite(blobs, "manifests/default/redis.1/000000002", lambda content: content[:-1])

        repository.delete(W, 1)
        repository.sweep(now=1e12)

        assert len(pack_keys(blobs)) == 1

    def test_what_a_writer_may_lean_on_stays_until_it_has_finished(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})
        done: list[bool] = []

        def delete_once() -> bool:
            if not done:
                done.append(True)
                repository.delete(W, 1)
            return False

        repository.put(W, 2, small, {}, should_stop=delete_once)

        assert repository.versions(W) == [2]
        assert repository.verify(W, 2) == ()
        repository.delete(W, 2)
        assert all_keys(blobs) == ["swarmkeep-location"]


class TestSweep:
    def test_garbage_goes_after_the_grace_time_and_versions_stay(self, small: Path) -> None:
        now = 1_000_000.0
        blobs = MemoryBlobStore(clock=lambda: now)
        repository = Repository.open(blobs, create=True)
        repository.put(W, 1, small, {})
        blobs.put("packs/default/redis.1/0123456789abcdef-000000", [b"crashed"])
        blobs.put("packs/default/other.1/0123456789abcdef-000000", [b"crashed"])
        blobs.put("writers/default/redis.1/0123456789abcdef", [b'{"version": 2, "base": 1}'])
        blobs.put("packs/notes.txt", [b"a user's own"])

        assert repository.sweep(now=now + GRACE_S - 1) == Swept(0, 0, 0)
        assert repository.sweep(now=now + GRACE_S + 1) == Swept(3, 39, 0)
        assert repository.sweep(now=now + GRACE_S + 1) == Swept(0, 0, 0)
        assert repository.verify(W, 1) == ()
        assert blobs.get("packs/notes.txt", 100)

    def test_packs_of_a_writer_at_work_stay(self, small: Path) -> None:
        now = [1_000_000.0]
        blobs = MemoryBlobStore(clock=lambda: now[0])
        repository = Repository.open(blobs, create=True)
        blobs.put("packs/default/redis.1/0123456789abcdef-000000", [b"at work"])
        blobs.put("packs/default/redis.1/fedcba9876543210-000000", [b"crashed"])
        now[0] += GRACE_S
        blobs.put("writers/default/redis.1/0123456789abcdef", [b'{"version": 2, "base": null}'])

        repository.sweep(now=now[0] + 1)

        assert pack_keys(blobs) == ["packs/default/redis.1/0123456789abcdef-000000"]

    def test_a_mark_that_nobody_can_read_keeps_everything_until_it_is_old(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        blobs.put("writers/default/redis.1/0123456789abcdef", [b"?"])

        repository.delete(W, 1)
        kept = pack_keys(blobs)
        repository.sweep(now=1e12)

        assert len(kept) == 1
        assert all_keys(blobs) == ["swarmkeep-location"]

    def test_interrupted_writes_inside_the_storage_go_too(self, tmp_path: Path, small: Path) -> None:
        repository = Repository.open(LocalBlobStore(tmp_path), create=True)
        (tmp_path / ".unfinished/left").write_bytes(b"x")

        assert repository.sweep().unfinished == 0
        assert repository.sweep(now=1e12).unfinished == 1


class TestVerify:
    def test_a_whole_version_has_nothing_wrong(self, repository: Repository, small: Path) -> None:
        repository.put(W, 1, small, {})

        assert repository.verify(W, 1) == ()
        assert repository.verify(W, 1, full=False) == ()

    def test_damage_names_the_files_that_it_hit(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        (small / "b").write_bytes(b"changed")
        repository.put(W, 2, small, {})
        (pack,) = needed_packs(repository, W) - {f"packs/{W}/{repository.manifest(W, 1).packs[0].name}"}
        overwrite(blobs, pack, lambda content: content[:17] + bytes([content[17] ^ 1]) + content[18:])

        assert repository.verify(W, 1) == ()
        assert repository.verify(W, 2, full=False) == ()
        ((path, problem),) = [(damage.path, damage.problem) for damage in repository.verify(W, 2)]
        assert path == "b"
        assert "frame 0 was changed" in problem

    def test_missing_or_short_packs_hit_every_file_that_needs_them(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, pack_keys(blobs)[0], lambda content: content[:-33])
        short = repository.verify(W, 1, full=False)
        blobs.delete(pack_keys(blobs)[0])
        gone = repository.verify(W, 1)

        assert [damage.path for damage in short] == ["a", "b"]
        assert [damage.path for damage in gone] == ["a", "b"]
        assert "gone" in gone[0].problem

    def test_a_version_stored_alone_does_not_inherit_damage(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        (pack,) = pack_keys(blobs)
        overwrite(blobs, pack, lambda content: content[:17] + bytes([content[17] ^ 1]) + content[18:])
        repository.put(W, 2, small, {})
        repository.put(W, 3, small, {}, alone=True)
        repository.put(W, 4, small, {})

        assert repository.verify(W, 2), "unchanged pages are taken over unread"
        assert repository.verify(W, 3) == ()
        assert repository.verify(W, 4) == ()


class TestPutAgain:
    """A damaged version is stored once more in its own place."""

    @pytest.fixture
    def elsewhere(self, small: Path) -> Manifest:
        """What another location says of version 1."""
        other = Repository.open(MemoryBlobStore(), create=True)
        return other.put(W, 1, small, FACTS)

    @pytest.fixture
    def damaged(self, repository: Repository, blobs: MemoryBlobStore, small: Path) -> Repository:
        repository.put(W, 1, small, FACTS)
        (pack,) = pack_keys(blobs)
        overwrite(blobs, pack, lambda content: content[:17] + bytes([content[17] ^ 1]) + content[18:])
        assert repository.verify(W, 1)
        return repository

    def test_it_is_whole_afterwards_and_the_old_bytes_are_garbage(
        self, damaged: Repository, blobs: MemoryBlobStore, elsewhere: Manifest, small: Path
    ) -> None:
        before = set(all_keys(blobs))
        damaged.put_again(elsewhere, small)
        assert damaged.verify(W, 1) == ()
        assert damaged.manifest(W, 1).facts == FACTS
        assert set(all_keys(blobs)) > before - {"manifests"}, "what others may lean on is not touched"
        damaged.sweep(now=time.time() + GRACE_S + 60)
        assert len(pack_keys(blobs)) == 1

    @pytest.mark.parametrize("after", range(1, 20))
    def test_who_dies_after_any_step_leaves_it_damaged_or_whole_or_to_be_done_again_and_never_gone(
        self,
        blobs: MemoryBlobStore,
        keyring: Keyring | None,
        damaged: Repository,
        elsewhere: Manifest,
        small: Path,
        after: int,
    ) -> None:
        dying = Repository(FaultyBlobStore(blobs, "r" * (after - 1) + "X"), damaged.location_id, keyring)
        try:
            dying.put_again(elsewhere, small)
        except Crashed:
            assert not damaged.is_gone(W, 1)
        damaged.put_again(elsewhere, small)
        assert damaged.verify(W, 1) == ()

    def test_of_two_who_do_it_one_wins_and_it_is_whole(
        self, damaged: Repository, elsewhere: Manifest, small: Path
    ) -> None:
        def meanwhile() -> bool:
            if not done:
                done.append(True)
                damaged.put_again(elsewhere, small)
            return False

        done: list[bool] = []
        with pytest.raises(Conflict, match="somebody else"):
            damaged.put_again(elsewhere, small, should_stop=meanwhile)
        assert damaged.verify(W, 1) == ()

    def test_while_a_version_that_builds_on_it_is_written_it_stays(
        self, damaged: Repository, elsewhere: Manifest, small: Path
    ) -> None:
        def meanwhile() -> bool:
            with pytest.raises(Conflict, match="builds on"):
                damaged.put_again(elsewhere, small)
            return False

        damaged.put(W, 2, small, {}, should_stop=meanwhile)
        assert damaged.versions(W) == [1, 2]
        damaged.put_again(elsewhere, small)
        assert damaged.verify(W, 1) == ()

    def test_a_version_does_not_build_on_what_was_repaired_under_it(
        self, damaged: Repository, elsewhere: Manifest, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The repair looked for writers a moment before this one left its mark."""

        def meanwhile() -> bool:
            if not done:
                done.append(True)
                with monkeypatch.context() as patched:
                    patched.setattr(Repository, "_writers", lambda *_: [])
                    damaged.put_again(elsewhere, small)
            return False

        done: list[bool] = []
        with pytest.raises(Unavailable, match="repaired meanwhile"):
            damaged.put(W, 2, small, {}, should_stop=meanwhile)
        assert damaged.versions(W) == [1]
        damaged.put(W, 2, small, {})
        assert damaged.verify(W, 2) == ()

    def test_a_manifest_that_is_rubbish_is_replaced(
        self, repository: Repository, blobs: MemoryBlobStore, elsewhere: Manifest, small: Path
    ) -> None:
        repository.put(W, 1, small, FACTS)
        overwrite(blobs, f"manifests/{W}/000000001", lambda _: b"rubbish")
        repository.put_again(elsewhere, small)
        assert repository.verify(W, 1) == ()

    def test_a_version_is_gone_when_it_was_deleted_and_not_while_it_is_stored_again(
        self, damaged: Repository, blobs: MemoryBlobStore
    ) -> None:
        blobs.delete(f"manifests/{W}/000000001")
        leave_mark(blobs, VersionKey(W, 1), "0" * 16, None)
        assert not damaged.is_gone(W, 1)
        remove_mark(blobs, W, "0" * 16)
        assert damaged.is_gone(W, 1)


class TestPages:
    """What a version shares with the one before it, and what that must never cost."""

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        folder = tmp_path / "image"
        folder.mkdir()
        (folder / "pages-1.img").write_bytes(os.urandom(2000 * 4096 + 100))
        (folder / "core-1.img").write_bytes(os.urandom(700))
        return folder

    def change(self, image: Path, *pages: int) -> None:
        with (image / "pages-1.img").open("r+b") as file:
            for page in pages:
                file.seek(page * 4096)
                file.write(os.urandom(4096))

    def test_a_version_of_what_did_not_change_stores_no_page(self, repository: Repository, image: Path) -> None:
        first = repository.put(W, 1, image, {})
        second = repository.put(W, 2, image, {})

        assert first.new_bytes > 8_000_000
        assert second.new_bytes == 0
        assert second.stored_bytes < 3000
        assert second.packs == first.packs

    def test_only_changed_pages_are_stored(self, repository: Repository, image: Path, tmp_path: Path) -> None:
        repository.put(W, 1, image, {})
        self.change(image, 0, 777, 778, 1999)

        second = repository.put(W, 2, image, {})
        repository.get(W, 2, tmp_path / "back")

        assert [pack.pages for pack in second.packs] == [2002, 4]
        assert (tmp_path / "back/pages-1.img").read_bytes() == (image / "pages-1.img").read_bytes()

    def test_pages_that_moved_are_found_again(self, repository: Repository, image: Path, tmp_path: Path) -> None:
        repository.put(W, 1, image, {})
        content = (image / "pages-1.img").read_bytes()
        (image / "pages-2.img").write_bytes(b"x" * 4096 + content[4096:])
        (image / "pages-1.img").write_bytes(os.urandom(4096) + content)

        second = repository.put(W, 2, image, {})
        repository.get(W, 2, tmp_path / "back")

        assert [pack.pages for pack in second.packs] == [2002, 2]
        assert (tmp_path / "back/pages-1.img").read_bytes() == (image / "pages-1.img").read_bytes()
        assert (tmp_path / "back/pages-2.img").read_bytes() == (image / "pages-2.img").read_bytes()

    def test_a_page_that_appears_often_is_stored_once(self, repository: Repository, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "same").write_bytes(b"x" * 4096 * 1000)
        (source / "again").write_bytes(b"x" * 4096 * 300 + b"y")

        manifest = repository.put(W, 1, source, {})
        repository.get(W, 1, tmp_path / "back")

        assert [pack.pages for pack in manifest.packs] == [2]
        assert (tmp_path / "back/same").read_bytes() == b"x" * 4096 * 1000
        assert (tmp_path / "back/again").read_bytes() == b"x" * 4096 * 300 + b"y"

    def test_every_version_survives_the_deletion_of_any_other(
        self, repository: Repository, blobs: MemoryBlobStore, image: Path, tmp_path: Path
    ) -> None:
        contents = {}
        for version in range(1, 7):
            self.change(image, *range(version * 100, version * 100 + 50))
            contents[version] = (image / "pages-1.img").read_bytes()
            repository.put(W, version, image, {})

        for version in (3, 1, 6, 4, 2):
            repository.delete(W, version)
            del contents[version]
            for left, content in contents.items():
                repository.get(W, left, tmp_path / "back")
                assert (tmp_path / "back/pages-1.img").read_bytes() == content
            assert set(pack_keys(blobs)) == needed_packs(repository, W)

    def test_mostly_dead_packs_are_left_at_once(
        self, repository: Repository, blobs: MemoryBlobStore, image: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, image, {})
        self.change(image, *range(1900))

        second = repository.put(W, 2, image, {})
        third = repository.put(W, 3, image, {})
        repository.delete(W, 1)

        assert [pack.pages for pack in second.packs] == [2002]
        assert third.packs == second.packs
        assert len(pack_keys(blobs)) == 1
        repository.get(W, 2, tmp_path / "back")
        assert (tmp_path / "back/pages-1.img").read_bytes() == (image / "pages-1.img").read_bytes()

    @pytest.mark.parametrize("fault", list("XYEeF"))
    def test_one_that_stops_while_it_leaves_a_pack_harms_nothing(self, tmp_path: Path, image: Path, fault: str) -> None:
        (image / "pages-1.img").write_bytes(os.urandom(200 * 4096))
        first = (image / "pages-1.img").read_bytes()
        stopped = 0
        for step in range(12):
            blobs = MemoryBlobStore()
            repository = Repository.open(blobs, create=True)
            (image / "pages-1.img").write_bytes(first)
            repository.put(W, 1, image, {})
            self.change(image, *range(190))
            second = (image / "pages-1.img").read_bytes()
            faulty = Repository(FaultyBlobStore(blobs, "r" * step + fault), repository.location_id)
            try:
                assert [pack.pages for pack in faulty.put(W, 2, image, {}).packs] == [201]
            except (Crashed, SwarmKeepError):
                stopped += 1

            for version in repository.versions(W):
                repository.get(W, version, tmp_path / "back")
                assert (tmp_path / "back/pages-1.img").read_bytes() == (first if version == 1 else second)
            assert 1 in repository.versions(W)
            repository.sweep(now=1e12)
            assert set(pack_keys(blobs)) == needed_packs(repository, W)
        assert stopped >= (3 if fault == "F" else 9)

    def test_a_pack_of_which_enough_is_used_is_leant_on(self, repository: Repository, image: Path) -> None:
        repository.put(W, 1, image, {})
        self.change(image, *range(1700))

        second = repository.put(W, 2, image, {})

        assert [pack.pages for pack in second.packs] == [2002, 1700]

    def test_a_page_that_a_version_has_many_times_keeps_no_pack_alive(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        source = tmp_path / "source"
        source.mkdir()
        pages = [number.to_bytes(4, "little") * 1024 for number in range(1, 101)]
        (source / "file").write_bytes(b"".join(pages))
        repository.put(W, 1, source, {})
        (source / "file").write_bytes(pages[7] * 100)

        second = repository.put(W, 2, source, {})

        assert [pack.pages for pack in second.packs] == [1]
        assert repository.verify(W, 2) == ()

    @pytest.mark.parametrize("change", ["cut", "changed", "gone"])
    def test_a_file_that_changes_before_it_is_read_again_fails_the_version(
        self, repository: Repository, blobs: MemoryBlobStore, image: Path, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        repository.put(W, 1, image, {})
        self.change(image, *range(1900))
        before = all_keys(blobs)
        read = FolderReader.read

        def read_and_change(reader: FolderReader) -> tuple[Entry, ...]:
            entries = read(reader)
            if change == "gone":
                (image / "pages-1.img").unlink()
            elif change == "changed":
                self.change(image, 1950)
            else:
                (image / "pages-1.img").write_bytes(b"cut")
            return entries

        monkeypatch.setattr(FolderReader, "read", read_and_change)
        with pytest.raises(HostError):
            repository.put(W, 2, image, {})

        assert all_keys(blobs) == before

    @pytest.mark.parametrize("damage", ["gone", "short", "hashes"])
    def test_a_pack_that_is_not_whole_is_not_built_on(
        self, repository: Repository, blobs: MemoryBlobStore, image: Path, tmp_path: Path, damage: str
    ) -> None:
        repository.put(W, 1, image, {})
        (key,) = pack_keys(blobs)
        content = blobs.get(key, 1 << 30)
        blobs.delete(key)
        if damage == "short":
            blobs.put(key, [content[:-1]])
        if damage == "hashes":
            blobs.put(key, [content[:-1] + bytes([content[-1] ^ 1])])

        second = repository.put(W, 2, image, {})

        assert [pack.pages for pack in second.packs] == [2002]
        assert repository.verify(W, 2) == ()

    def test_a_base_with_a_damaged_manifest_is_not_built_on(
        self, repository: Repository, blobs: MemoryBlobStore, image: Path
    ) -> None:
        repository.put(W, 1, image, {})
        overwrite(blobs, "manifests/default/redis.1/000000001", lambda content: content[:-1])

        second = repository.put(W, 2, image, {})

        assert second.new_bytes > 8_000_000
        assert repository.verify(W, 2) == ()

    def test_the_caller_may_name_the_base(self, repository: Repository, image: Path) -> None:
        repository.put(W, 1, image, {})
        self.change(image, 5)
        repository.put(W, 2, image, {})

        assert [pack.pages for pack in repository.put(W, 3, image, {}, parent=1).packs] == [2002, 1]
        assert [pack.pages for pack in repository.put(W, 4, image, {}, parent=99).packs] == [2002]

    def test_workloads_share_nothing(self, repository: Repository, image: Path) -> None:
        repository.put(W, 1, image, {})

        assert repository.put("default/redis.2", 2, image, {}).new_bytes > 8_000_000


class TestLocation:
    def test_a_folder_that_was_never_used_is_none_until_it_is_made_one(self, tmp_path: Path) -> None:
        blobs = LocalBlobStore(tmp_path)

        with pytest.raises(Unavailable, match="is it mounted"):
            Repository.open(blobs, create=False)
        made = Repository.open(blobs, create=True)

        assert Repository.open(blobs, create=False).location_id == made.location_id
        assert Repository.open(blobs, create=True).location_id == made.location_id

    def test_two_nodes_that_make_it_at_once_agree(self) -> None:
        inner = MemoryBlobStore()

        class Overtaken(MemoryBlobStore):
            def __init__(self) -> None:
                self.__dict__ = inner.__dict__

            def put(self, key: str, chunks: Any) -> int:
                self.winner = Repository.open(inner, create=True).location_id
                return super().put(key, chunks)

        overtaken = Overtaken()

        assert Repository.open(overtaken, create=True).location_id == overtaken.winner

    def test_a_mount_that_is_gone_is_noticed_by_every_call(self, tmp_path: Path, small: Path) -> None:
        mounted, unmounted = tmp_path / "mounted", tmp_path / "mount"
        unmounted.mkdir()
        repository = Repository.open(LocalBlobStore(unmounted), create=True)
        repository.put(W, 1, small, {})
        unmounted.rename(mounted)
        unmounted.mkdir()

        for call in (
            repository.check,
            lambda: repository.put(W, 2, small, {}),
            lambda: repository.get(W, 1, tmp_path / "x"),
            lambda: repository.manifest(W, 1),
            lambda: repository.versions(W),
            repository.workloads,
            lambda: repository.delete(W, 1),
            lambda: repository.verify(W, 1),
            repository.sweep,
        ):
            with pytest.raises(Unavailable, match="is it mounted"):
                call()
        assert os.listdir(unmounted) == []

    def test_a_mount_that_goes_while_bytes_are_written_gets_no_manifest(self, small: Path) -> None:
        blobs = MemoryBlobStore()
        repository = Repository.open(blobs, create=True)

        def unmount() -> bool:
            blobs.delete("swarmkeep-location")
            return False

        with pytest.raises(Unavailable, match="is it mounted"):
            repository.put(W, 1, small, {}, should_stop=unmount)

        assert [info.key for info in blobs.list("")] == []

    def test_another_location_in_its_place_is_noticed(self, blobs: MemoryBlobStore, repository: Repository) -> None:
        blobs.delete("swarmkeep-location")
        Repository.open(blobs, create=True)

        with pytest.raises(Unavailable, match="another location"):
            repository.check()

    def test_versions_without_a_mark_are_not_taken_over(self, blobs: MemoryBlobStore, small: Path) -> None:
        Repository.open(blobs, create=True).put(W, 1, small, {})
        blobs.delete("swarmkeep-location")

        with pytest.raises(CorruptData, match="put back"):
            Repository.open(blobs, create=True)

    def test_a_mark_that_is_damaged_or_newer_is_said(self, blobs: MemoryBlobStore) -> None:
        for content, error in (
            (b"garbage", CorruptData),
            (b"", CorruptData),
            (b"swarmkeep-location 3 " + b"00000000-0000-0000-0000-000000000000\n", NewerFormat),
        ):
            blobs.delete("swarmkeep-location")
            blobs.put("swarmkeep-location", [content])
            with pytest.raises(error):
                Repository.open(blobs, create=True)

    def test_storage_that_does_not_answer_is_not_made_a_location(self) -> None:
        inner = MemoryBlobStore()

        with pytest.raises(Unavailable, match="does not answer"):
            Repository.open(FaultyBlobStore(inner, "EE"), create=True)

        assert list(inner.list("")) == []
