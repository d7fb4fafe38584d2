"""Removes what interrupted writers left in the locations: bytes that no version refers to and that are hours old."""

from __future__ import annotations

import asyncio
import random

import structlog

from swarmkeep.agent.locations import Locations
from swarmkeep.errors import SwarmKeepError

log = structlog.get_logger(__name__)

INTERVAL_S = 3600.0
LIMIT_S = 900.0


class Sweeper:
    """Sweeps every location about once an hour, each node at a time of its own; beside writers that is safe."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations

    async def run(self) -> None:
        """Sweeps for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads work, guards nothing
            for name in self._locations.names():
                try:
                    swept = await self._locations.call(name, lambda repository: repository.sweep(), LIMIT_S)
                except SwarmKeepError as error:
                    log.warning("could not sweep a location", location=name, error=str(error))
                else:
                    log.info("swept a location", location=name, removed=str(swept))
