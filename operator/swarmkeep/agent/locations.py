"""The StorageLocations as this node sees them: opened, checked often, never mistaken for an unmounted folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from swarmkeep.agent.location_keys import Keys, key_report, read_keys
from swarmkeep.agent.runtime.disk_space import read_space
from swarmkeep.agent.storage import Storage, open_storage
from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.model.wire import Object, section
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
    checker: ThreadPoolExecutor
    """Looks at the location even while all others wait for it."""
    repository: Repository | None = None
    probe: Repository | None = None
    """The same by the short way: it answers at once, be it that nobody is there."""
    storage: Storage | None = None
    found_id: str | None = None
    rewrapped: tuple[Keyring, Rewrapped] | None = None
    """What the last rewrapping has found, and with which keys."""


class Locations:
    """Repositories by the name of their StorageLocation.

    Storage that hangs holds threads of its own location only: each has small pools, and every call has a limit.
    """

    def __init__(self) -> None:
        self._locations: dict[str, _Location] = {}

    def update(self, objects: Mapping[str, Object]) -> None:
        """Takes over the StorageLocations that the API has now, by name."""
        for name in self._locations.keys() - objects.keys():
            # Work that is under way ends by itself, and the threads with it.
            del self._locations[name]
        for name, obj in objects.items():
            spec, known_id = section(obj, "spec"), section(obj, "status").get("id")
            current = self._locations.get(name)
            if current is None or current.spec != spec:
                executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"store-{name}")
                checker = ThreadPoolExecutor(max_workers=2, thread_name_prefix=f"check-{name}")
                self._locations[name] = _Location(spec, known_id, executor, checker)
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

        def run() -> T:
            return work(location.repository or _open(name, location))

        return await _within(limit_s, name, location.executor, run)

    async def check(self) -> list[dict[str, Any]]:
        """Looks at every location; returns `status.locations` of the Node object."""
        found = sorted(self._locations.items())
        return list(await asyncio.gather(*(self._check(name, location) for name, location in found)))

    @staticmethod
    async def _check(name: str, location: _Location) -> dict[str, Any]:
        try:
            said = await _within(CHECK_LIMIT_S, name, location.checker, lambda: _look(name, location))
        except SwarmKeepError as error:
            location.repository = None
            return {"name": name, "reachable": False, "message": str(error)}
        return {"name": name, "reachable": True, "id": location.found_id} | said

    def keyring(self, name: str) -> Keyring | None:
        """The keys of a location; None when it is not encrypted, or not open."""
        location = self._locations.get(name)
        return location.repository.keyring if location and location.repository else None

    def under_other_keys(self) -> list[tuple[tuple[str, ...], float]]:
        """How many versions each encrypted location has under other keys than its current one, where that is known."""
        found: list[tuple[tuple[str, ...], float]] = []
        for name, location in list(self._locations.items()):
            known, rewrapped = location.rewrapped or (None, None)
            if rewrapped is not None and location.repository is not None and location.repository.keyring == known:
                found.append(((name,), rewrapped.left))
        return found

    async def rewrap(self, name: str, limit_s: float) -> Rewrapped:
        """Brings the data keys of an encrypted location under its current key. Raises what `call` raises."""
        location = self._locations.get(name)

        def work(repository: Repository) -> Rewrapped:
            done = repository.rewrap(limit_s=limit_s)
            if location is not None and repository.keyring is not None:
                location.rewrapped = repository.keyring, done
            return done

        return await self.call(name, work, limit_s + CHECK_LIMIT_S)


async def _within(limit_s: float, name: str, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Runs `work` in a thread. Raises Unavailable when it has not ended in time, else what it raises."""
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        # Not wait_for: before Python 3.12 it forgets that its caller was called off just as the answer came.
        async with asyncio.timeout(limit_s):
            return await asyncio.shield(future)
    except TimeoutError:
        future.cancel()
        raise Unavailable(f"storagelocation {name} has not answered within {limit_s:g} s") from None


def _keys(name: str, location: _Location) -> Keys:
    try:
        return read_keys(location.spec)
    except SwarmKeepError as error:
        raise type(error)(f"storagelocation {name}: {error}") from error


def _open(name: str, location: _Location) -> Repository:
    keys = _keys(name, location)
    try:
        storage = open_storage(location.spec)
    except SwarmKeepError as error:
        raise type(error)(f"storagelocation {name}: {error}") from error
    # Only a location that nobody has ever used may be initialised: an empty folder where there should be data is
    # a mount that is missing.
    probe = Repository.open(storage.direct, create=location.known_id is None, keyring=keys.keyring)
    if location.known_id is not None and probe.location_id != location.known_id:
        raise Unavailable(
            f"storagelocation {name}: {storage.direct.description} on this node is another location "
            f"({probe.location_id}, not {location.known_id}); is the right one mounted?"
        )
    repository = Repository(storage.blobs, probe.location_id, keys.keyring)
    location.storage, location.probe, location.found_id = storage, probe, probe.location_id
    location.repository = repository
    return repository


def _look(name: str, location: _Location) -> dict[str, Any]:
    """Whether the location is there now; returns what the Node object says of it beside that. Raises SwarmKeepError."""
    keys = _keys(name, location)
    if location.repository is None or keys.keyring != location.repository.keyring:
        # Not opened yet, or somebody has changed what is in the key files.
        _open(name, location)
    if location.storage is None or location.probe is None:
        raise Unavailable(f"storagelocation {name} could not be opened")
    location.probe.check()
    notes = location.storage.examine()
    known, rewrapped = location.rewrapped or (None, None)
    report = key_report(keys, rewrapped if known == keys.keyring else None)
    folder = section(location.spec, "filesystem").get("path")
    space = read_space(Path(folder)) if folder else {}
    return report | ({"disk": space} if space else {}) | ({"message": "; ".join(notes)} if notes else {})
