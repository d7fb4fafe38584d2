"""What is repeated, what is not, and what becomes of a put whose answer was lost."""

from collections.abc import Callable

import pytest

from swarmkeep.errors import Conflict, HostError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.store.blob import Absent, BlobStore
from swarmkeep.store.blob_faulty import FaultyBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.blob_retry import RetryingBlobStore, RetrySettings


class Waits(list[float]):
    """Stands for sleeping."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def retrying(inner: BlobStore, waits: Waits | None = None, **settings: float) -> RetryingBlobStore:
    return RetryingBlobStore(inner, RetrySettings(**settings), sleep=waits if waits is not None else Waits())


CALLS: dict[str, Callable[[BlobStore], object]] = {
    "put": lambda blobs: blobs.put("new", [b"x"]),
    "get": lambda blobs: blobs.get("old", 10),
    "read": lambda blobs: blobs.read("old", 1, 2),
    "list": lambda blobs: list(blobs.list("")),
    "delete": lambda blobs: blobs.delete("old"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("faults", ["EEE", "eee"])
def test_every_call_gets_over_an_outage(name: str, faults: str) -> None:
    memory, waits = MemoryBlobStore(), Waits()
    memory.put("old", [b"content"])
    faulty = FaultyBlobStore(memory, faults)
    expected = CALLS[name](FaultyBlobStore(_copy(memory)))

    got = CALLS[name](retrying(faulty, waits))

    assert got == expected or name == "list"
    assert len(waits) >= 1
    assert "new" in {info.key for info in memory.list("")} or name != "put"


def _copy(memory: MemoryBlobStore) -> MemoryBlobStore:
    copy = MemoryBlobStore()
    for info in memory.list(""):
        copy.put(info.key, [memory.get(info.key, 100)])
    return copy


def test_a_put_whose_answer_was_lost_is_not_its_own_conflict() -> None:
    memory = MemoryBlobStore()
    blobs = retrying(FaultyBlobStore(memory, "e"))

    assert blobs.put("k", iter([b"mi", b"ne"])) == 4

    assert memory.get("k", 10) == b"mine"


def test_after_an_outage_the_blob_of_another_is_a_conflict() -> None:
    memory = MemoryBlobStore()
    memory.put("k", [b"theirs"])

    with pytest.raises(Conflict):
        retrying(FaultyBlobStore(memory, "E")).put("k", [b"mine"])

    assert memory.get("k", 10) == b"theirs"


def test_the_same_bytes_of_another_are_a_conflict_where_every_answer_came() -> None:
    memory = MemoryBlobStore()
    memory.put("k", [b"same"])

    with pytest.raises(Conflict):
        retrying(memory).put("k", [b"same"])


class Failing(MemoryBlobStore):
    """Fails every get with the same error."""

    def __init__(self, error: SwarmKeepError) -> None:
        super().__init__()
        self.error = error
        self.calls = 0

    def get(self, key: str, max_bytes: int) -> bytes:
        self.calls += 1
        raise self.error


@pytest.mark.parametrize("error", [NotFound("no"), HostError("may not"), Absent("no bucket"), Conflict("taken")])
def test_what_another_try_cannot_help_is_tried_once(error: SwarmKeepError) -> None:
    failing = Failing(error)

    with pytest.raises(type(error)):
        retrying(failing).get("k", 1)

    assert failing.calls == 1


def test_it_gives_up_in_time_with_the_error_that_storage_gave() -> None:
    failing = Failing(Unavailable("nobody there"))

    with pytest.raises(Unavailable, match="nobody there"):
        RetryingBlobStore(failing, RetrySettings(limit_s=0.3, first_wait_s=0.02, longest_wait_s=0.05)).get("k", 1)

    assert failing.calls > 3


def test_what_the_chunks_raise_is_not_repeated() -> None:
    asked = 0

    def chunks() -> list[bytes]:
        nonlocal asked
        asked += 1
        raise Unavailable("the source")

    with pytest.raises(Unavailable, match="the source"):
        retrying(MemoryBlobStore()).put("k", (chunk for _ in "x" for chunk in chunks()))

    assert asked == 1
