from __future__ import annotations

from collections.abc import Iterator

import pytest

from swarmkeep.errors import NotFound, StorageFull, Unavailable
from swarmkeep.store.blob_faulty import Crashed, FaultyBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore


def test_a_call_that_fails_at_once_has_done_nothing() -> None:
    blobs = FaultyBlobStore(MemoryBlobStore(), "rEr")
    blobs.put("a", [b"x"])

    with pytest.raises(Unavailable):
        blobs.delete("a")

    assert blobs.get("a", 1) == b"x"
    assert blobs.calls == 3


def test_a_call_whose_answer_is_lost_has_done_its_work() -> None:
    blobs = FaultyBlobStore(MemoryBlobStore(), "e")

    with pytest.raises(Unavailable):
        blobs.put("a", [b"x"])

    assert blobs.get("a", 1) == b"x"


def test_a_full_disk_takes_some_bytes_and_keeps_none() -> None:
    asked: list[bytes] = []
    blobs = FaultyBlobStore(MemoryBlobStore(), "F")

    def chunks() -> Iterator[bytes]:
        for chunk in (b"xx", b"yy"):
            asked.append(chunk)
            yield chunk

    with pytest.raises(StorageFull):
        blobs.put("a", chunks())

    assert asked == [b"xx"]
    with pytest.raises(NotFound):
        blobs.get("a", 9)


def test_a_lying_disk_cuts_blobs_and_flips_bits() -> None:
    blobs = FaultyBlobStore(MemoryBlobStore(), "TrTT")

    assert blobs.put("a", [b"1234"]) == 4
    assert blobs.get("a", 9) == b"12"
    assert blobs.get("a", 9) == b"13"
    assert blobs.read("a", 0, 1) == b"0"


def test_slow_storage_takes_its_time() -> None:
    slept: list[float] = []
    blobs = FaultyBlobStore(MemoryBlobStore(), "S", slow_s=7, sleep=slept.append)

    blobs.put("a", [b"x"])

    assert slept == [7]
    assert blobs.get("a", 1) == b"x"


@pytest.mark.parametrize(("fault", "stored"), [("X", False), ("Y", True)])
def test_a_dead_process_does_nothing_any_more(fault: str, stored: bool) -> None:
    inner = MemoryBlobStore()
    blobs = FaultyBlobStore(inner, fault)

    with pytest.raises(Crashed):
        blobs.put("a", [b"x"])
    with pytest.raises(Crashed):
        blobs.delete("a")

    assert bool(list(inner.list(""))) is stored
