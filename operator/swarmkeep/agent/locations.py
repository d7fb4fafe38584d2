"""The StorageLocations as this node sees them: opened, checked often, never mistaken for an unmounted folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from swarmkeep.agent.location_keys import key_report, read_keys
from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.model.wire import Object, section
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.keyring import Keyring
from swarmkeep.store.repository import Repository
from swarmkeep.store.vault import Rewrapped

T = TypeVar("T")

CHECK_LIMIT_S = 5.0


@dataclass(slots=True)
class _Location:
    spec: Mapping[str, Any]
    known_id: str | None
    """The identity in the StorageLocation's status: None until some agent has used the location."""
    executor: ThreadPoolExecutor
    repository: Repository | None = None
    found_id: str | None = None
    problem: str | None = None
    checking: asyncio.Future[None] | None = None
    rewrapped: tuple[Keyring, Rewrapped] | None = None
    """What the last rewrapping has found, and with which keys."""


class Locations:
    """Repositories by the name of their StorageLocation.

    Storage that hangs holds threads of its own location only: each has a small pool, and every call has a limit.
    """

    def __init__(self) -> None:
        self._locations: dict[str, _Location] = {}

    def update(self, objects: Mapping[str, Object]) -> None:
        """Takes over the StorageLocations that the API has now, by name."""
        for name in self._locations.keys() - objects.keys():
            self._locations.pop(name).executor.shutdown(wait=False, cancel_futures=True)
        for name, obj in objects.items():
            spec, known_id = section(obj, "spec"), section(obj, "status").get("id")
            current = self._locations.get(name)
            if current is None or current.spec != spec:
                executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"store-{name}")
                self._locations[name] = _Location(spec, known_id, executor)
            elif current.known_id != known_id:
                current.known_id = known_id
                current.repository = None

    def names(self) -> list[str]:
        """All locations that the API knows."""
        return sorted(self._locations)

    async def call(self, name: str, work: Callable[[Repository], T], limit_s: float) -> T:
        """Runs `work` on the location's repository in a thread.

        Raises Unavailable when the location is not there, cannot be opened, or has not answered within `limit_s`
        seconds (the thread goes on; what it writes is either whole or garbage to be swept); else what `work` raises.
        """
        location = self._locations.get(name)
        if location is None:
            raise Unavailable(f"storagelocation {name} does not exist: create it, or name another in the policy")
        loop = asyncio.get_running_loop()

        def run() -> T:
            return work(location.repository or self._open(name, location))

        future = loop.run_in_executor(location.executor, run)
        try:
            return await asyncio.wait_for(asyncio.shield(future), limit_s)
        except TimeoutError:
            future.cancel()
            raise Unavailable(f"storagelocation {name} has not answered within {limit_s:g} s") from None

    async def check(self) -> list[dict[str, Any]]:
        """Looks at every location; returns `status.locations` of the Node object."""
        return list(await asyncio.gather(*(self._check(name) for name in self.names())))

    async def _check(self, name: str) -> dict[str, Any]:
        location = self._locations[name]
        try:
            encryption = await self.call(name, lambda repository: self._look(name, location, repository), CHECK_LIMIT_S)
        except SwarmKeepError as error:
            location.repository = None
            return {"name": name, "reachable": False, "message": str(error)}
        return {"name": name, "reachable": True, "id": location.found_id} | encryption

    def _look(self, name: str, location: _Location, repository: Repository) -> dict[str, Any]:
        """Whether the location is there now; returns what the Node object says of its keys. Raises SwarmKeepError."""
        keys = read_keys(location.spec)
        if keys.keyring != repository.keyring:
            # Somebody has changed what is in the key files.
            repository = self._open(name, location)
        repository.check()
        known, rewrapped = location.rewrapped or (None, None)
        return key_report(keys, rewrapped if known == keys.keyring else None)

    def keyring(self, name: str) -> Keyring | None:
        """The keys of a location; None when it is not encrypted, or not open."""
        location = self._locations.get(name)
        return location.repository.keyring if location and location.repository else None

    async def rewrap(self, name: str, limit_s: float) -> Rewrapped:
        """Brings the data keys of an encrypted location under its current key. Raises what `call` raises."""
        location = self._locations.get(name)

        def work(repository: Repository) -> Rewrapped:
            done = repository.rewrap(limit_s=limit_s)
            if location is not None and repository.keyring is not None:
                location.rewrapped = repository.keyring, done
            return done

        return await self.call(name, work, limit_s + CHECK_LIMIT_S)

    @staticmethod
    def _open(name: str, location: _Location) -> Repository:
        try:
            keys = read_keys(location.spec)
        except Unavailable as error:
            raise type(error)(f"storagelocation {name}: {error}") from error
        folder = Path(section(location.spec, "filesystem")["path"])
        if not folder.is_dir():
            raise Unavailable(
                f"storagelocation {name}: {folder} is no folder on this node; create it or mount it there"
            )
        # Only a location that nobody has ever used may be initialised: an empty folder where there should be data is
        # a mount that is missing.
        blobs = LocalBlobStore(folder)
        repository = Repository.open(blobs, create=location.known_id is None, keyring=keys.keyring)
        if location.known_id is not None and repository.location_id != location.known_id:
            raise Unavailable(
                f"storagelocation {name}: {folder} on this node is another location "
                f"({repository.location_id}, not {location.known_id}); is the right one mounted?"
            )
        location.repository, location.found_id = repository, repository.location_id
        return repository
