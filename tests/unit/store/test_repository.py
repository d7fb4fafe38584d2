from __future__ import annotations

import os
import threading
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
from swarmkeep.store import folder_writer
from swarmkeep.store.blob_faulty import Crashed, FaultyBlobStore
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.deadline import Stopped
from swarmkeep.store.repository import GRACE_S, Damage, Repository, Swept

W = "default/redis.1"
FACTS = {"specHash": "abc", "container": {"Name": "é", "n": [1, 2.5, None, True]}}


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def repository(blobs: MemoryBlobStore) -> Repository:
    return Repository.open(blobs, create=True)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "a").write_bytes(b"a" * 10_000)
    (folder / "b").write_bytes(b"b")
    return folder


def data_keys(blobs: MemoryBlobStore) -> list[str]:
    return sorted(info.key for info in blobs.list("data/"))


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

        assert manifest.stored_bytes == 4096
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

    def test_memory_is_bounded_whatever_the_size_of_a_file(self, tmp_path: Path) -> None:
        largest = 0

        class Watching(MemoryBlobStore):
            def put(self, key: str, chunks: Any) -> int:
                nonlocal largest
                for chunk in chunks:
                    largest = max(largest, len(chunk))
                return 50 << 20

        source = tmp_path / "source"
        source.mkdir()
        (source / "big").write_bytes(b"x" * (50 << 20))
        repository = Repository(Watching(), "")
        repository.check = lambda: None  # type: ignore[method-assign]

        repository.put(W, 1, source, {})

        assert largest == 1 << 20


class TestPut:
    def test_a_version_that_exists_is_a_conflict_and_stays(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        first = repository.put(W, 1, small, {"n": 1})

        with pytest.raises(Conflict, match="version 1 exists already"):
            repository.put(W, 1, small, {"n": 2})

        assert repository.manifest(W, 1) == first
        assert len(data_keys(blobs)) == 1

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
        assert len(data_keys(blobs)) == 1
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

    def test_a_crash_after_any_step_leaves_no_version_or_a_whole_one(self, tmp_path: Path, small: Path) -> None:
        steps = 0
        while True:
            for fault in "XY":
                blobs = MemoryBlobStore()
                repository = Repository.open(blobs, create=True)
                faulty = FaultyBlobStore(blobs, "r" * steps + fault)
                try:
                    Repository(faulty, repository.location_id).put(W, 1, small, {})
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
                    assert len(data_keys(blobs)) == len(taken) + 1
            if finished:
                assert steps >= 4
                return
            steps += 1

    @pytest.mark.parametrize("fault", list("EeFT"))
    def test_a_failure_at_any_step_leaves_no_version_or_a_whole_or_an_unusable_one(
        self, tmp_path: Path, small: Path, fault: str
    ) -> None:
        for step in range(6):
            blobs = MemoryBlobStore()
            repository = Repository.open(blobs, create=True)
            faulty = Repository(FaultyBlobStore(blobs, "r" * step + fault), repository.location_id)
            raised = None
            try:
                faulty.put(W, 1, small, {})
            except SwarmKeepError as error:
                raised = error

            if raised and not isinstance(raised, Unavailable):
                assert repository.versions(W) == []
                assert data_keys(blobs) == []
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
        for step in (2, 4):
            faulty = Repository(FaultyBlobStore(blobs, "r" * step + "F"), repository.location_id)

            with pytest.raises(StorageFull):
                faulty.put(W, 1, small, {})

            assert data_keys(blobs) == []
            assert repository.versions(W) == []

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

        assert data_keys(blobs) == []

    def test_facts_that_are_no_json_are_refused(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        for facts in ({"x": b"bytes"}, {"x": float("nan")}):
            with pytest.raises(InvalidObject, match="no JSON"):
                repository.put(W, 1, small, facts)
        assert data_keys(blobs) == []

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

        assert data_keys(blobs) == []

    def test_the_time_limit_ends_a_put(self, repository: Repository, small: Path) -> None:
        with pytest.raises(Stopped, match="longer than -1 s"):
            repository.put(W, 1, small, {}, limit_s=-1)


class TestGet:
    def test_a_flipped_bit_is_never_restored(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, data_keys(blobs)[0], lambda content: content[:5000] + b"\0" + content[5001:])

        with pytest.raises(CorruptData, match=r"^a does not have"):
            repository.get(W, 1, tmp_path / "target/v1")

        assert os.listdir(tmp_path / "target") == []

    def test_bytes_that_were_cut_short_are_damage(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, data_keys(blobs)[0], lambda content: content[:-1])

        with pytest.raises(CorruptData, match="cut short"):
            repository.get(W, 1, tmp_path / "v1")

    def test_bytes_that_are_gone_are_missing(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        repository.put(W, 1, small, {})
        blobs.delete(data_keys(blobs)[0])

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
        overwrite(blobs, data_keys(blobs)[0], lambda content: bytes(len(content)))

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
        monkeypatch.setattr(folder_writer.os, "pwrite", full)

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
            read(whole[:-1])
        with pytest.raises(CorruptData, match="overwritten"):
            read(b"x" + whole[1:])
        with pytest.raises(CorruptData, match="byte was changed"):
            read(whole[:-3] + b"x" + whole[-2:])
        with pytest.raises(NewerFormat, match="upgrade"):
            read(whole[:8] + b"\x02" + whole[9:])
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
        blobs.put("data/default/other.1/000000001-0123456789abcdef", [b"unfinished"])

        assert repository.versions(W) == [9, 10]
        assert repository.versions("default/redis") == []
        assert repository.workloads() == [W, "shop/db.1"]


class TestDelete:
    def test_a_deleted_version_is_gone_with_its_bytes_and_the_others_stay(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path, tmp_path: Path
    ) -> None:
        for version in (1, 2, 3):
            repository.put(W, version, small, {})

        repository.delete(W, 2)
        repository.delete(W, 2)

        assert repository.versions(W) == [1, 3]
        assert len(data_keys(blobs)) == 2
        for version in (1, 3):
            repository.get(W, version, tmp_path / str(version))

    def test_one_that_stops_after_any_step_leaves_the_version_whole_or_gone(self, small: Path, tmp_path: Path) -> None:
        for step in range(4):
            for fault in "XY":
                blobs = MemoryBlobStore()
                repository = Repository.open(blobs, create=True)
                repository.put(W, 1, small, {})
                faulty = Repository(FaultyBlobStore(blobs, "r" * step + fault), repository.location_id)
                with pytest.raises(Crashed):
                    faulty.delete(W, 1)

                if repository.versions(W):
                    repository.get(W, 1, tmp_path / "back")
                repository.delete(W, 1)
                repository.sweep(now=1e12)
                assert [info.key for info in blobs.list("")] == ["swarmkeep-location"]

    def test_a_version_with_a_damaged_manifest_can_be_deleted(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, "manifests/default/redis.1/000000001", lambda content: content[:-1])

        repository.delete(W, 1)

        assert repository.versions(W) == []
        assert repository.sweep(now=1e12).blobs == 1

    def test_the_bytes_of_a_writer_at_work_on_that_number_stay(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        blobs.put("data/default/redis.1/000000001-0123456789abcdef", [b"somebody's"])

        repository.delete(W, 1)

        assert data_keys(blobs) == ["data/default/redis.1/000000001-0123456789abcdef"]


class TestSweep:
    def test_garbage_goes_after_the_grace_time_and_versions_stay(self, small: Path) -> None:
        now = 1_000_000.0
        blobs = MemoryBlobStore(clock=lambda: now)
        repository = Repository.open(blobs, create=True)
        repository.put(W, 1, small, {})
        blobs.put("data/default/redis.1/000000001-0123456789abcdef", [b"lost the race"])
        blobs.put("data/default/redis.1/000000002-0123456789abcdef", [b"crashed"])
        blobs.put("data/notes.txt", [b"a user's own"])

        assert repository.sweep(now=now + GRACE_S - 1) == Swept(0, 0, 0)
        assert repository.sweep(now=now + GRACE_S + 1) == Swept(2, 20, 0)
        assert repository.sweep(now=now + GRACE_S + 1) == Swept(0, 0, 0)
        assert repository.verify(W, 1) == ()
        assert blobs.get("data/notes.txt", 100)

    def test_what_a_manifest_that_nobody_can_read_may_name_stays(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        blobs.put("data/default/redis.1/000000001-0123456789abcdef", [b"x"])
        overwrite(blobs, "manifests/default/redis.1/000000001", lambda content: content[:8] + b"\x09" + content[9:])

        assert repository.sweep(now=1e12).blobs == 0
        assert len(data_keys(blobs)) == 2

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
        overwrite(blobs, data_keys(blobs)[0], lambda content: content[:-1] + b"?")

        assert repository.verify(W, 1, full=False) == ()
        assert repository.verify(W, 1) == (Damage("b", "its bytes do not have their hash"),)

    def test_missing_or_short_bytes_hit_every_file(
        self, repository: Repository, blobs: MemoryBlobStore, small: Path
    ) -> None:
        repository.put(W, 1, small, {})
        overwrite(blobs, data_keys(blobs)[0], lambda content: content[:-1])
        short = repository.verify(W, 1, full=False)
        blobs.delete(data_keys(blobs)[0])

        assert short == tuple(Damage(name, "10000 bytes are there of 10001") for name in "ab")
        assert repository.verify(W, 1) == tuple(Damage(name, "its bytes are gone") for name in "ab")


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
            (b"swarmkeep-location 2 " + b"00000000-0000-0000-0000-000000000000\n", NewerFormat),
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
