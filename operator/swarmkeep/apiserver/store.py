"""Objects in etcd: reading, and writing only what nobody else has changed meanwhile.

Called by the verbs. Knows keys, bytes and revisions; not what an object means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swarmkeep.apiserver import codec
from swarmkeep.apiserver.guards import Guard
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Compare, Delete, Get, KeyValue, Operation, Put, RangeResult


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it is in etcd."""

    raw: bytes
    revision: int

    def obj(self) -> codec.Obj:
        """Decoded, the caller's own."""
        return codec.decode(self.raw, self.revision)

    def json(self) -> bytes:
        """As it is sent to clients."""
        return codec.stamp(self.raw, self.revision)


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing was written: the object is not what the writer thought it was."""

    current: Stored | None


class ObjectStore:
    """Reads and writes objects by key."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    async def read(self, key: str) -> Stored | None:
        """The object; None if there is none."""
        return _stored(await self._etcd.get(key))

    async def page(self, prefix: str, *, limit: int = 0, revision: int = 0, start: str = "") -> RangeResult:
        """Objects in order of their keys. Raises Compacted."""
        return await self._etcd.range(prefix, limit=limit, revision=revision, start=start)

    async def put(
        self, key: str, raw: bytes, expected: int, guards: Sequence[Guard] = (), *, lease: int = 0
    ) -> Stored | Stale:
        """Writes the object if its revision is `expected` (0: it does not exist). Raises a guard's StatusError."""

        def is_written(current: Stored | None) -> bool:
            return current is not None and current.raw == raw

        result = await self._commit(key, expected, guards, [Put(key, raw, lease)], is_written)
        return Stored(raw, result) if isinstance(result, int) else result

    async def delete(self, key: str, expected: int, guards: Sequence[Guard] = ()) -> int | Stale:
        """Deletes the object if its revision is `expected`; the revision of its deletion. Raises as `put` does."""
        return await self._commit(key, expected, guards, [Delete(key)], lambda current: current is None)

    async def check(self, key: str, expected: int, guards: Sequence[Guard]) -> Stale | None:
        """What `put` would be stopped by, without writing: for dry runs, and for writes that change nothing."""
        result = await self._commit(key, expected, guards, [], lambda _: False)
        return result if isinstance(result, Stale) else None

    async def _commit(
        self,
        key: str,
        expected: int,
        guards: Sequence[Guard],
        operations: Sequence[Operation],
        is_done: Callable[[Stored | None], bool],
    ) -> int | Stale:
        """The revision of success. `is_done` says whether the object is as the operations would have made it."""
        result = await self._etcd.txn(
            [Compare(key, "mod", expected), *(guard.compare for guard in guards)],
            operations,
            [Get(key), *(Get(guard.compare.key) for guard in guards)],
        )
        if result.succeeded:
            return result.revision
        current = _stored(result.answers[0])
        if result.repeated and is_done(current):
            # Our own write, whose answer was lost. It stands, whatever became of the guards since.
            return current.revision if current else result.revision
        for guard, found in zip(guards, result.answers[1:], strict=True):
            if not guard.holds(found):
                raise guard.error
        return Stale(current)


def _stored(item: KeyValue | None) -> Stored | None:
    return Stored(item.value, item.mod_revision) if item else None
