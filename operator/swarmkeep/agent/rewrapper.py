"""Brings the versions of encrypted locations under the current key, soon after it has changed and then hourly."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from swarmkeep.agent.locations import Locations
from swarmkeep.errors import SwarmKeepError
from swarmkeep.store.keyring import Keyring

log = structlog.get_logger(__name__)

LOOK_S = 20.0
"""How often it looks for a key that has changed."""
INTERVAL_S = 3600.0
"""How often it looks for versions that a node with older settings has written since."""
LIMIT_S = 900.0


class Rewrapper:
    """Rewraps on every node, each at a time of its own: whoever comes second finds nothing to do."""

    def __init__(self, locations: Locations, clock: Callable[[], float] = time.monotonic) -> None:
        self._locations = locations
        self._clock = clock
        self._done: dict[str, tuple[Keyring, float]] = {}
        """With which keys each location was last gone through, and when."""

    async def run(self) -> None:
        """Rewraps for ever."""
        while True:
            await asyncio.sleep(LOOK_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads work, guards nothing
            await self.look()

    async def look(self) -> None:
        """Goes through every location for which it is time."""
        for name in self._locations.names():
            keyring = self._locations.keyring(name)
            if keyring is None or not self._is_due(name, keyring):
                continue
            try:
                done = await self._locations.rewrap(name, LIMIT_S)
            except SwarmKeepError as error:
                log.warning("could not rewrap the keys of a location", location=name, error=str(error))
                continue
            self._done[name] = keyring, self._clock()
            if done.rewrapped or done.left:
                log.info(
                    "rewrapped the keys of a location",
                    location=name,
                    key=keyring.current.id,
                    rewrapped=done.rewrapped,
                    left=done.left,
                    problem=done.problem,
                )

    def _is_due(self, name: str, keyring: Keyring) -> bool:
        before, at = self._done.get(name, (None, 0.0))
        return before != keyring or self._clock() - at >= INTERVAL_S
