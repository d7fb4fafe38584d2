"""Writes a version that is damaged in one location there again, out of another that has it whole."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.reading import SILENCE_FIRST, read_from_first
from swarmkeep.agent.room import require_room
from swarmkeep.errors import NotFound, SwarmKeepError, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import Checkpoint, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

ANSWER_LIMIT_S = 30.0
MEND_LIMIT_S = 900.0
"""The longest that reading or writing one version may take."""
RETRY_S = 5.0


class Mender:
    """One version at a time.

    The journal holds the versions whose repair nobody has seen the end of: one that was deleted at the same time must
    not come back by it.
    """

    def __init__(self, client: Client, locations: Locations, journal: Journal, scratch: Path) -> None:
        self._client = client
        self._locations = locations
        self._journal = journal
        self._scratch = scratch
        self._left = dict(journal.items())
        shutil.rmtree(scratch, ignore_errors=True)

    async def run(self) -> None:
        """Sees to the end of what an earlier life of the agent has begun."""
        for key, record in list(self._left.items()):
            ref, workload = Ref.parse(record["checkpoint"]), Ref.parse(record["workload"])
            while True:
                try:
                    await self._settle(key, ref, workload, record["number"], record["location"])
                    break
                except SwarmKeepError as error:
                    log.info("cannot see to a repair yet", checkpoint=str(ref), error=str(error))
                    await asyncio.sleep(RETRY_S)

    async def mend(
        self, item: Checkpoint, location: str, sources: Sequence[str], should_stop: Callable[[], bool]
    ) -> str:
        """Writes the version there again; returns the location that it was read from.

        What is there is not touched before all of the new is: nothing that can be read is lost on the way. Raises
        SwarmKeepError when it cannot be done now, Stopped; may be repeated after any step.
        """
        workload, number = Ref(item.ref.namespace, item.workload), item.version or 0
        target = self._scratch / item.ref.namespace / item.ref.name
        skipped: dict[str, SwarmKeepError] = {}

        def get(repository: Repository) -> Manifest:
            manifest = repository.manifest(str(workload), number)
            require_room(target, sum(entry.size for entry in manifest.entries), f"a repair of {item.ref}")
            return repository.get(str(workload), number, target, durable=False, should_stop=should_stop)

        try:
            manifest = await read_from_first(
                self._locations, sources, workload, number, get, MEND_LIMIT_S, SILENCE_FIRST, skipped
            )
            source = next(name for name in sources if name not in skipped)

            def write(repository: Repository) -> Manifest:
                repository.check()
                return repository.put_again(manifest, target, should_stop=should_stop)

            key = f"{location} {item.ref}"
            record = {"checkpoint": str(item.ref), "workload": str(workload), "number": number, "location": location}
            self._journal.write(key, record)
            await self._locations.call(location, write, MEND_LIMIT_S)
        finally:
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        while True:
            try:
                await self._settle(key, item.ref, workload, number, location)
                break
            except Unavailable as error:
                log.info("cannot see whether a repaired version is still wanted", error=str(error))
                await asyncio.sleep(RETRY_S)
        log.warning("repaired a version", checkpoint=str(item.ref), location=location, source=source)
        return source

    async def _settle(self, key: str, ref: Ref, workload: Ref, number: int, location: str) -> None:
        """Takes a version away again that was deleted while it was repaired. Raises Unavailable while nobody knows."""
        try:
            wanted = parse_checkpoint(await self._client.get(CHECKPOINT, ref.name, ref.namespace))
            is_wanted = wanted.is_stored and wanted.version == number and wanted.workload == workload.name
        except NotFound:
            is_wanted = False
        if not is_wanted:
            await self._locations.call(
                location, lambda repository: repository.delete(str(workload), number), ANSWER_LIMIT_S
            )
            log.info("took a repaired version away again", checkpoint=str(ref), location=location)
        self._journal.remove(key)
        self._left.pop(key, None)
