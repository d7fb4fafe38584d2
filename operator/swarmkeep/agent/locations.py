"""The StorageLocations as this node sees them: opened, checked often, never mistaken for an unmounted folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.model.wire import Object, section
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

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
            await self.call(name, lambda repository: repository.check(), CHECK_LIMIT_S)
        except SwarmKeepError as error:
            location.repository = None
            return {"name": name, "reachable": False, "message": str(error)}
        return {"name": name, "reachable": True, "id": location.found_id}

    @staticmethod
    def _open(name: str, location: _Location) -> Repository:
        folder = Path(section(location.spec, "filesystem")["path"])
        if not folder.is_dir():
            raise Unavailable(
                f"storagelocation {name}: {folder} is no folder on this node; create it or mount it there"
            )
        # Only a location that nobody has ever used may be initialised: an empty folder where there should be data is
        # a mount that is missing.
        repository = Repository.open(LocalBlobStore(folder), create=location.known_id is None)
        if location.known_id is not None and repository.location_id != location.known_id:
            raise Unavailable(
                f"storagelocation {name}: {folder} on this node is another location "
                f"({repository.location_id}, not {location.known_id}); is the right one mounted?"
            )
        location.repository, location.found_id = repository, repository.location_id
        return repository
