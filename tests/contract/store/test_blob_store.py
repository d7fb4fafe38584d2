"""Every adapter of the blob port, and every wrapper, against the contract that swarmkeep/store/blob.py writes down.

`s3` speaks to a real server, Ceph's radosgw; `s3-weak` to the same one behind a proxy that takes from it what some
servers lack: it ignores If-None-Match and where a range begins.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmkeep.errors import Conflict, CorruptData, InvalidObject, NotFound, StorageFull
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.blob_faulty import FaultyBlobStore
from swarmkeep.store.blob_limit import LimitedBlobStore
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.blob_object import ObjectBlobStore
from swarmkeep.store.blob_paced import PacedBlobStore
from swarmkeep.store.blob_retry import RetryingBlobStore
from swarmkeep.store.object_client import ObjectClient

from ...s3_server import FaultyProxy, settings


@pytest.fixture(params=["local", "memory", "faulty", "wrapped", "s3", "s3-weak"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "local":
        return LocalBlobStore(tmp_path)
    if request.param == "memory":
        return MemoryBlobStore()
    if request.param == "wrapped":
        return RetryingBlobStore(PacedBlobStore(LimitedBlobStore(MemoryBlobStore(), 1 << 30), lambda count: None))
    if request.param == "s3":
        return ObjectBlobStore(ObjectClient(settings(request.getfixturevalue("s3"), secrets.token_hex(8))))
    if request.param == "s3-weak":
        proxy: FaultyProxy = request.getfixturevalue("proxy")
        proxy.ignores_conditions = proxy.ignores_offsets = True
        return ObjectBlobStore(ObjectClient(settings(proxy.address, f"{secrets.token_hex(8)}/below")))
    return FaultyBlobStore(MemoryBlobStore())


def keys(blobs: BlobStore, prefix: str = "") -> list[str]:
    return sorted(info.key for info in blobs.list(prefix))


def test_a_blob_comes_back_as_it_was_put(blobs: BlobStore) -> None:
    assert blobs.put("a/b", [b"one", bytearray(b"two"), memoryview(b"three")]) == 11

    assert blobs.get("a/b", 100) == b"onetwothree"
    assert blobs.read("a/b", 3, 3) == b"two"
    assert blobs.read("a/b", 0, 11) == b"onetwothree"


def test_an_empty_blob_is_one(blobs: BlobStore) -> None:
    blobs.put("empty", [])

    assert blobs.get("empty", 0) == b""
    assert [(info.key, info.size) for info in blobs.list("")] == [("empty", 0)]


def test_chunks_may_share_one_buffer(blobs: BlobStore) -> None:
    buffer = bytearray(2)

    def chunks() -> Iterator[memoryview]:
        for letter in b"abc":
            buffer[:] = bytes([letter]) * 2
            yield memoryview(buffer)

    blobs.put("k", chunks())

    assert blobs.get("k", 6) == b"aabbcc"


def test_a_taken_key_is_not_overwritten(blobs: BlobStore) -> None:
    blobs.put("a/b", [b"first"])

    with pytest.raises(Conflict, match="a/b"):
        blobs.put("a/b", [b"second"])

    assert blobs.get("a/b", 100) == b"first"


def test_of_many_writers_of_one_key_exactly_one_wins(blobs: BlobStore) -> None:
    outcomes: list[int | None] = []
    gate = threading.Barrier(8)

    def write(number: int) -> None:
        def chunks() -> Iterator[bytes]:
            gate.wait(10)
            yield bytes([number]) * 1000

        try:
            blobs.put("x/y/z", chunks())
            outcomes.append(number)
        except Conflict:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    winners = [number for number in outcomes if number is not None]
    assert len(outcomes) == 8
    assert len(winners) == 1
    assert blobs.get("x/y/z", 1000) == bytes(winners) * 1000


def test_what_the_chunks_raise_passes_and_nothing_is_stored(blobs: BlobStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise StorageFull("the source says so")

    with pytest.raises(StorageFull, match="the source says so"):
        blobs.put("a", chunks())

    assert keys(blobs) == []
    blobs.put("a", [b"whole"])
    assert blobs.get("a", 10) == b"whole"


def test_a_key_that_is_not_there_is_not_found(blobs: BlobStore) -> None:
    blobs.put("a/b", [b"x"])

    for missing in ("a/c", "a", "a/b/c", "z"):
        with pytest.raises(NotFound):
            blobs.get(missing, 10) if missing != "a" else blobs.read("nothing", 0, 1)


def test_a_range_beyond_the_end_is_damage(blobs: BlobStore) -> None:
    blobs.put("a", [b"12345"])

    with pytest.raises(CorruptData, match="cut short"):
        blobs.read("a", 3, 3)


def test_a_blob_longer_than_it_may_be_is_damage(blobs: BlobStore) -> None:
    blobs.put("a", [b"12345"])

    with pytest.raises(CorruptData, match="more than the 4"):
        blobs.get("a", 4)


def test_a_listing_has_what_is_below_the_prefix(blobs: BlobStore) -> None:
    for key in ("top", "m/a/1", "m/a/2", "m/ab/1", "n/a"):
        blobs.put(key, [key.encode()])

    assert keys(blobs) == ["m/a/1", "m/a/2", "m/ab/1", "n/a", "top"]
    assert keys(blobs, "m/") == ["m/a/1", "m/a/2", "m/ab/1"]
    assert keys(blobs, "m/a/") == ["m/a/1", "m/a/2"]
    assert keys(blobs, "nothing/here/") == []
    assert [info.size for info in blobs.list("n/")] == [3]
    assert all(info.modified_at > 1_500_000_000 for info in blobs.list(""))


def test_a_deleted_blob_is_gone_and_deleting_again_is_no_error(blobs: BlobStore) -> None:
    blobs.put("a/b/c", [b"x"])
    blobs.put("a/b/d", [b"y"])

    blobs.delete("a/b/c")
    blobs.delete("a/b/c")
    blobs.delete("never/was")

    assert keys(blobs) == ["a/b/d"]
    blobs.put("a/b/c", [b"again"])
    assert blobs.get("a/b/c", 10) == b"again"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "a//b",
        "a/",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".hidden",
        "a/.hidden",
        "a b",
        "a\n",
        "a\0b",
        "ä",
        "x" * 201,
        "/".join(["x"] * 13),
    ],
)
def test_a_key_that_is_none_is_refused_by_every_call(blobs: BlobStore, key: str) -> None:
    for call in (
        lambda: blobs.put(key, [b"x"]),
        lambda: blobs.get(key, 1),
        lambda: blobs.read(key, 0, 0),
        lambda: blobs.delete(key),
    ):
        with pytest.raises(InvalidObject):
            call()
    assert keys(blobs) == []


@pytest.mark.parametrize("prefix", ["a", "/", "../", "a/../", ".a/"])
def test_a_prefix_that_is_none_is_refused(blobs: BlobStore, prefix: str) -> None:
    with pytest.raises(InvalidObject):
        list(blobs.list(prefix))


def test_discarding_unfinished_puts_touches_no_blob(blobs: BlobStore) -> None:
    blobs.put("a", [b"x"])

    assert blobs.discard_unfinished(older_than=1e12) == 0
    assert keys(blobs) == ["a"]
