"""Writers and deleters of one workload, their calls to storage mixed in every way that hypothesis can think of."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.store.blob import BlobInfo
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.repository import Repository

W = "default/redis.1"


class Turns:
    """Lets one actor at a time make one call; who is next comes from a list, and round robin after it."""

    def __init__(self, actors: int, order: list[int]) -> None:
        self._condition = threading.Condition()
        self._order = order
        self._alive = set(range(actors))
        self._waiting: set[int] = set()
        self._turn: int | None = None

    def take(self, actor: int) -> None:
        with self._condition:
            self._waiting.add(actor)
            self._choose()
            assert self._condition.wait_for(lambda: self._turn == actor, timeout=30)
            self._waiting.discard(actor)
            self._turn = None

    def leave(self, actor: int) -> None:
        with self._condition:
            self._alive.discard(actor)
            self._choose()

    def _choose(self) -> None:
        # Only when all who live are waiting, so that the order decides and not the threads' scheduler.
        if self._turn is None and self._alive and self._waiting >= self._alive:
            wanted = self._order.pop(0) if self._order else 0
            self._turn = sorted(self._alive)[wanted % len(self._alive)]
            self._condition.notify_all()


class InTurns:
    """A BlobStore each of whose calls waits for its turn."""

    description = "in turns"

    def __init__(self, inner: MemoryBlobStore, turns: Turns, actor: int) -> None:
        self._inner, self._turns, self._actor = inner, turns, actor

    def put(self, key: str, chunks: Iterable[Any]) -> int:
        self._turns.take(self._actor)
        return self._inner.put(key, chunks)

    def get(self, key: str, max_bytes: int) -> bytes:
        self._turns.take(self._actor)
        return self._inner.get(key, max_bytes)

    def read(self, key: str, offset: int, length: int) -> bytes:
        self._turns.take(self._actor)
        return self._inner.read(key, offset, length)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        self._turns.take(self._actor)
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        self._turns.take(self._actor)
        self._inner.delete(key)

    def discard_unfinished(self, older_than: float) -> int:
        return 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=80), st.sampled_from([(1,), (2,), (1, 2), (2, 1)]))
def test_whatever_the_order_every_version_that_is_listed_can_be_restored(
    order: list[int], deleted: tuple[int, ...]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        inner = MemoryBlobStore()
        repository = Repository.open(inner, create=True)
        sources = {}
        for version in (1, 2, 3, 4):
            sources[version] = Path(scratch, f"source{version}")
            sources[version].mkdir()
            pages = [b"same" * 1024, bytes([version]) * 4096, bytes([version // 2]) * 4096]
            (sources[version] / "pages").write_bytes(b"".join(pages))
        repository.put(W, 1, sources[1], {})
        repository.put(W, 2, sources[2], {})
        turns = Turns(3, order)
        failures: list[BaseException] = []

        def act(actor: int, work: Callable[[Repository], object]) -> None:
            try:
                work(Repository(InTurns(inner, turns, actor), repository.location_id))
            except BaseException as error:
                failures.append(error)
            finally:
                turns.leave(actor)

        def write(mine: Repository) -> None:
            mine.put(W, 3, sources[3], {})
            mine.put(W, 4, sources[4], {})

        def delete(mine: Repository) -> None:
            for version in deleted:
                mine.delete(W, version)

        works = [write, delete, lambda mine: mine.sweep(now=1.0)]
        threads = [threading.Thread(target=act, args=(actor, work)) for actor, work in enumerate(works)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert failures == []
        assert repository.versions(W) == sorted({1, 2, 3, 4} - set(deleted))
        for version in repository.versions(W):
            repository.get(W, version, Path(scratch, "back"))
            assert Path(scratch, "back/pages").read_bytes() == (sources[version] / "pages").read_bytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=120), st.sampled_from([(1,), (2,), (1, 2)]))
def test_whatever_the_order_rewrapping_loses_no_key_and_disturbs_nobody(
    order: list[int], deleted: tuple[int, ...]
) -> None:
    """A writer, a deleter, a reader, and two nodes that rewrap and do not agree on which key is the current one."""
    old, new = LocationKey(bytes(range(32))), LocationKey(bytes(range(1, 33)))
    with tempfile.TemporaryDirectory() as scratch:
        inner = MemoryBlobStore()
        repository = Repository.open(inner, create=True, keyring=Keyring(old))
        source = Path(scratch, "source")
        source.mkdir()
        (source / "pages").write_bytes(b"same" * 1024)
        for version in (1, 2, 3):
            repository.put(W, version, source, {"version": version})
        rings = [Keyring(old), Keyring(new, [old]), Keyring(new, [old]), Keyring(new, [old]), Keyring(old, [new])]
        Repository.open(inner, create=False, keyring=rings[1])
        turns = Turns(len(rings), order)
        failures: list[BaseException] = []

        def delete(mine: Repository) -> None:
            for version in deleted:
                mine.delete(W, version)

        def read(mine: Repository) -> None:
            for _ in range(3):
                assert mine.manifest(W, 3).facts == {"version": 3}

        works: list[Callable[[Repository], object]] = [
            lambda mine: mine.put(W, 4, source, {"version": 4}),
            delete,
            read,
            lambda mine: mine.rewrap(),
            lambda mine: mine.rewrap(),
        ]

        def act(actor: int) -> None:
            try:
                works[actor](Repository(InTurns(inner, turns, actor), repository.location_id, rings[actor]))
            except BaseException as error:
                failures.append(error)
            finally:
                turns.leave(actor)

        threads = [threading.Thread(target=act, args=(actor,)) for actor in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert failures == []
        everything = Repository(inner, repository.location_id, rings[1])
        everything.rewrap()
        everything.rewrap()
        only_new = Repository(inner, repository.location_id, Keyring(new))
        assert only_new.versions(W) == sorted({1, 2, 3, 4} - set(deleted))
        for version in only_new.versions(W):
            assert only_new.get(W, version, Path(scratch, "back")).facts == {"version": version}
        everything.sweep(now=1e12)
        assert len(list(inner.list("keys/"))) == len(only_new.versions(W))
