"""A limit on what goes to storage, on a clock of its own."""

import pytest

from swarmkeep.store.blob_limit import LimitedBlobStore
from swarmkeep.store.blob_memory import MemoryBlobStore

MB = 1 << 20


class Clock:
    """Time that passes only while somebody sleeps."""

    now = 100.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.mark.parametrize(("sizes", "seconds"), [([4 * MB], 4.0), ([MB, MB, MB, MB], 4.0), ([10, 10], 0.01)])
def test_puts_take_as_long_as_the_limit_says(sizes: list[int], seconds: float) -> None:
    clock, memory = Clock(), MemoryBlobStore()
    blobs = LimitedBlobStore(memory, MB, clock=clock.read, sleep=clock.sleep)

    for number, size in enumerate(sizes):
        blobs.put(f"k{number}", [bytes(size)])

    # The last piece of 256 KiB goes at once, its time is the next one's wait.
    assert seconds - 0.26 <= clock.now - 100.0 <= seconds
    assert sum(info.size for info in memory.list("")) == sum(sizes)


def test_time_in_which_nothing_went_is_not_saved_up() -> None:
    clock = Clock()
    blobs = LimitedBlobStore(MemoryBlobStore(), MB, clock=clock.read, sleep=clock.sleep)
    blobs.put("a", [bytes(MB)])
    clock.now += 3600
    begun = clock.now

    blobs.put("b", [bytes(2 * MB)])

    assert clock.now - begun >= 1.7


def test_reading_does_not_wait() -> None:
    clock = Clock()
    blobs = LimitedBlobStore(MemoryBlobStore(), 1000, clock=clock.read, sleep=clock.sleep)
    blobs.put("a", [bytes(5000)])
    begun = clock.now

    assert blobs.get("a", 5000) == blobs.read("a", 0, 5000) == bytes(5000)
    assert [info.size for info in blobs.list("")] == [5000]
    blobs.delete("a")

    assert clock.now == begun
