"""Makes one copy of a version in another location, and takes it back if the version was deleted meanwhile."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import structlog

from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.reading import SILENCE_FIRST, read_from_first
from swarmkeep.agent.room import require_room
from swarmkeep.errors import Conflict, DataError, NotFound
from swarmkeep.model.ident import Ref
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

ANSWER_LIMIT_S = 10.0
COPY_LIMIT_S = 900.0
"""The longest that reading or writing one version may take."""


class Copies:
    """A version is put again whole, from this node's cache or another location, so that each location compresses,
    encrypts and shares pages in its own way.

    The journal holds the copies whose end nobody has seen: a copy that comes to be there after its version was deleted
    would stay for ever.
    """

    def __init__(self, locations: Locations, journal: Journal, scratch: Path, cache: ImageCache) -> None:
        self._locations = locations
        self._cache = cache
        self._journal = journal
        self._scratch = scratch
        self._doubts = dict(journal.items())
        shutil.rmtree(scratch, ignore_errors=True)

    async def make(self, workload: Ref, number: int, locations: Sequence[str], name: str) -> int:
        """Copies a version to `name` from the first of its other locations that has it whole; returns bytes written.

        Raises NotFound (it was deleted meanwhile), DataError (damaged in all of them), Conflict (another version of
        that number is there); whatever else it raises may go well the next time. May be repeated after any step.
        """
        scratch = self._scratch / name / f"{workload.namespace}_{workload.name}"
        with self._cache.using(workload, number):
            cached = await asyncio.to_thread(self._cache.find, workload, number)
            try:
                if cached is None:
                    sources = [item for item in locations if item != name]
                    manifest = await self._read(workload, number, sources, scratch)
                else:
                    manifest = await self._locations.call(
                        locations[0], lambda repository: repository.manifest(str(workload), number), ANSWER_LIMIT_S
                    )
                key = await self._doubt(name, workload, number, locations[0])
                try:
                    new_bytes = await self._write(name, manifest, cached or scratch)
                except Conflict:
                    self._sure(key)
                    raise
            finally:
                await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        if not await self._settle(key):
            raise NotFound(f"{workload} version {number} was deleted while it was copied")
        return new_bytes

    async def settle(self, name: str) -> None:
        """Clears up what earlier tries to copy to this location left in doubt. Raises SwarmKeepError."""
        for key, record in list(self._doubts.items()):
            if record["location"] == name:
                await self._settle(key)

    async def _read(self, workload: Ref, number: int, sources: Sequence[str], target: Path) -> Manifest:
        def get(repository: Repository) -> Manifest:
            manifest = repository.manifest(str(workload), number)
            require_room(target, sum(entry.size for entry in manifest.entries), f"a copy of {workload}")
            return repository.get(str(workload), number, target, durable=False)

        return await read_from_first(self._locations, sources, workload, number, get, COPY_LIMIT_S, SILENCE_FIRST)

    async def _write(self, name: str, manifest: Manifest, source: Path) -> int:
        def put(repository: Repository) -> int:
            # A location that is gone shows that here, before anything is in doubt.
            repository.check()
            try:
                written = repository.put(
                    manifest.workload, manifest.version, source, manifest.facts, taken_at=manifest.taken_at
                )
            except Conflict:
                written = repository.manifest(manifest.workload, manifest.version)
                if written.facts != manifest.facts:
                    raise
            return written.new_bytes

        return await self._locations.call(name, put, COPY_LIMIT_S)

    async def _doubt(self, name: str, workload: Ref, number: int, first: str) -> str:
        """Writes down that a copy may come to be there; returns the key to settle it by."""
        first_id = await self._locations.call(first, lambda repository: repository.location_id, ANSWER_LIMIT_S)
        record = {"location": name, "workload": str(workload), "number": number, "first": first, "firstID": first_id}
        key = f"{name} {workload} {number}"
        self._journal.write(key, record)
        self._doubts[key] = record
        return key

    def _sure(self, key: str) -> None:
        self._journal.remove(key)
        self._doubts.pop(key, None)

    async def _settle(self, key: str) -> bool:
        """Takes a copy back if its version was deleted; returns whether it stays. Raises Unavailable when nobody knows.

        Whoever deletes a version begins with the first location: either it finds the copy, or this finds the original
        gone.
        """
        record = self._doubts[key]
        name, workload, number = record["location"], record["workload"], record["number"]

        def is_gone(repository: Repository) -> bool:
            if repository.location_id != record["firstID"]:
                # The first location was replaced by another: that says nothing of what was deleted.
                return False
            try:
                return repository.is_gone(workload, number)
            except DataError:
                # Damaged there: then the copy is worth all the more.
                return False

        gone = await self._locations.call(record["first"], is_gone, ANSWER_LIMIT_S)
        if gone:
            await self._locations.call(name, lambda repository: repository.delete(workload, number), ANSWER_LIMIT_S)
            log.info("took a copy back", workload=workload, version=number, location=name)
        self._sure(key)
        return not gone
