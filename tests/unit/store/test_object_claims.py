"""Who may put, on a server that refuses nobody."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from swarmkeep.errors import NotFound, Unavailable
from swarmkeep.store.blob import BlobInfo
from swarmkeep.store.object_claims import CLAIMS, DEAD_AFTER_S, Claims


class Naive:
    """Objects that anybody may overwrite. Each request takes a moment, so that others come in between."""

    description = "a naive server"

    def __init__(self, delay_s: float = 0.0) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.now = 1000.0
        self._delay_s = delay_s
        self._lock = threading.Lock()

    def put(self, name: str, content: bytes | bytearray, *, only_new: bool) -> None:
        assert not only_new
        self._pause()
        with self._lock:
            self.objects[name] = (bytes(content), self.now)
        self._pause()

    def size(self, name: str) -> int:
        self._pause()
        with self._lock:
            if name not in self.objects:
                raise NotFound(name)
            return len(self.objects[name][0])

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        self._pause()
        with self._lock:
            found = [BlobInfo(k, len(v), at) for k, (v, at) in self.objects.items() if k.startswith(prefix)]
        self._pause()
        return iter(found)

    def delete(self, name: str) -> None:
        self._pause()
        with self._lock:
            self.objects.pop(name, None)

    def _pause(self) -> None:
        if self._delay_s:
            time.sleep(random.uniform(0, self._delay_s))


def claims_in(objects: Naive) -> list[str]:
    return [name for name in objects.objects if name.startswith(CLAIMS)]


def put(objects: Naive, claims: Claims, content: bytes) -> bool:
    with claims.alone("k", content) as free:
        if free:
            objects.put("k", content, only_new=False)
    return free


@pytest.mark.parametrize("round_", range(8))
def test_of_many_writers_with_clients_of_their_own_one_puts_and_nobody_overwrites(round_: int) -> None:
    objects = Naive(delay_s=0.01)
    won: list[bytes] = []
    gate = threading.Barrier(5)

    def write(content: bytes) -> None:
        gate.wait(10)
        if put(objects, Claims(objects), content):
            won.append(content)

    threads = [threading.Thread(target=write, args=(bytes([round_, number]),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(won) == 1
    assert objects.objects["k"][0] == won[0]
    assert claims_in(objects) == []


class Waits:
    """A clock that sleeping moves."""

    now = 0.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def timed(objects: Naive) -> Claims:
    waits = Waits()
    return Claims(objects, clock=waits.read, sleep=waits.sleep)


def test_who_died_with_a_claim_is_in_the_way_for_a_while_and_then_no_more() -> None:
    objects = Naive()
    objects.put(f"{CLAIMS}k/0-dead", b"", only_new=False)

    with pytest.raises(Unavailable, match="others have been writing k"):
        put(objects, timed(objects), b"x")
    assert claims_in(objects) == [f"{CLAIMS}k/0-dead"]

    objects.now += DEAD_AFTER_S + 1
    assert put(objects, timed(objects), b"x")


def test_a_put_that_was_not_answered_keeps_others_out_and_can_be_repeated() -> None:
    objects = Naive()
    mine = timed(objects)
    with pytest.raises(Unavailable, match="lost"), mine.alone("k", b"x"):
        raise Unavailable("lost")

    with pytest.raises(Unavailable, match="others"):
        put(objects, timed(objects), b"y")
    assert put(objects, mine, b"x")
    assert objects.objects["k"][0] == b"x"
    assert claims_in(objects) == []


def test_a_put_that_was_refused_leaves_no_claim() -> None:
    objects = Naive()
    with pytest.raises(ValueError, match="refused"), timed(objects).alone("k", b"x"):
        raise ValueError("refused")

    assert claims_in(objects) == []


def test_a_server_whose_listings_lag_is_refused() -> None:
    class Lagging(Naive):
        def list(self, prefix: str) -> Iterator[BlobInfo]:
            return iter(())

    objects = Lagging()
    with pytest.raises(Unavailable, match="listing does not show"):
        put(objects, timed(objects), b"x")
    assert "k" not in objects.objects
