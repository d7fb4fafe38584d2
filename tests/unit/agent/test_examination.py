"""Reading a version back: damage is told from everything that only looks like it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmkeep.agent.examination import WHOLE, Pace, examine
from swarmkeep.errors import Unavailable
from swarmkeep.store.blob_faulty import FaultyBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.deadline import Stopped, never
from swarmkeep.store.repository import Damage, Repository

W = "default/redis.1"


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def repository(blobs: MemoryBlobStore, tmp_path: Path) -> Repository:
    repository = Repository.open(blobs, create=True)
    for name in ("image", "layer"):
        (tmp_path / name).mkdir()
    (tmp_path / "image/pages-1.img").write_bytes(bytes(range(256)) * 64)
    (tmp_path / "layer/dump.rdb").write_bytes(b"data")
    repository.put(W, 1, tmp_path, {})
    return repository


def look(
    repository: Repository, *, full: bool = True, limit_s: float = 10, should_stop: Callable[[], bool] = never
) -> tuple[Damage, ...]:
    return examine(repository, W, 1, full=full, limit_s=limit_s, should_stop=should_stop)


def flip(blobs: MemoryBlobStore, prefix: str, position: int) -> None:
    (info,) = blobs.list(prefix)
    content = bytearray(blobs.get(info.key, 1 << 20))
    content[position] ^= 1
    blobs.delete(info.key)
    blobs.put(info.key, [content])


@pytest.mark.parametrize("full", [True, False])
def test_a_whole_version_has_nothing_wrong(repository: Repository, full: bool) -> None:
    assert look(repository, full=full) == ()


def test_a_flipped_byte_names_the_files_that_need_it(repository: Repository, blobs: MemoryBlobStore) -> None:
    flip(blobs, "packs/", 20)
    assert [damage.path for damage in look(repository)] == ["image/pages-1.img", "layer/dump.rdb"]
    assert look(repository, full=False) == (), "a quick look does not read every byte"


def test_a_missing_pack_is_seen_by_a_quick_look(repository: Repository, blobs: MemoryBlobStore) -> None:
    blobs.delete(next(blobs.list("packs/")).key)
    assert [damage.path for damage in look(repository, full=False)] == ["image/pages-1.img", "layer/dump.rdb"]


def test_a_manifest_that_is_gone_or_unreadable_hits_the_whole_version(
    repository: Repository, blobs: MemoryBlobStore
) -> None:
    flip(blobs, "manifests/", 200)
    (unreadable,) = look(repository)
    blobs.delete(next(blobs.list("manifests/")).key)
    (gone,) = look(repository)
    assert (unreadable.path, gone.path) == (WHOLE, WHOLE)
    assert "gone" in gone.problem


def test_a_mount_that_goes_away_while_it_is_read_is_no_damage(repository: Repository, blobs: MemoryBlobStore) -> None:
    reads = []

    def unmount(count: int) -> None:
        reads.append(count)
        if len(reads) == 3:
            for info in blobs.list(""):
                blobs.delete(info.key)

    with pytest.raises(Unavailable, match="is it mounted"):
        look(repository.paced(unmount))


def test_bytes_that_were_wrong_once_are_no_damage(repository: Repository, blobs: MemoryBlobStore) -> None:
    for calls in range(12):
        flaky = Repository(FaultyBlobStore(blobs, "r" * calls + "T"), repository.location_id)
        try:
            assert look(flaky) == (), f"a wrong byte in call {calls}"
        except Unavailable:
            continue


def test_storage_that_does_not_answer_is_no_damage(repository: Repository, blobs: MemoryBlobStore) -> None:
    with pytest.raises(Unavailable):
        look(Repository(FaultyBlobStore(blobs, "rrE"), repository.location_id))


def test_it_stops_when_asked_to_and_when_its_time_is_over(repository: Repository) -> None:
    with pytest.raises(Stopped):
        look(repository, should_stop=lambda: True)
    with pytest.raises(Stopped, match="took longer"):
        look(repository, limit_s=0)


def test_a_pace_waits_for_what_was_read_and_saves_nothing_up() -> None:
    now, waits = [100.0], []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(round(timeout or 0, 3))
            now[0] += max(0.0, timeout or 0)
            return False

    pace = Pace(1000, Clock(), clock=lambda: now[0])
    pace(500)
    pace(1000)
    now[0] += 60
    pace(250)
    assert waits == [0.5, 1.0, 0.25]
    assert pace.bytes == 1750


def test_what_a_user_waits_for_is_not_slowed_down(repository: Repository) -> None:
    class Hurry(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise AssertionError("it waits")

    pace = Pace(None, Hurry())
    assert look(repository.paced(pace)) == ()
    assert pace.bytes > 1000


def test_a_stop_ends_the_waiting_at_once(repository: Repository) -> None:
    stop = threading.Event()
    stop.set()
    Pace(1, stop)(1 << 30)
