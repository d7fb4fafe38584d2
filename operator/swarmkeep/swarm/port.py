"""What SwarmKeep needs of a Swarm's managers. Kept by docker_swarm.py for a real one, by simulated.py for tests.

Both pass tests/contract/swarm. It reads, but for two calls: a migration says for a moment where a service's tasks may
be, and takes that back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from typing import Protocol

from swarmkeep.model.swarm import Service, SwarmNode, Task


class Swarm(Protocol):
    """Every call is bounded in time and raises Unavailable, saying why, when no manager answers it."""

    async def nodes(self) -> tuple[SwarmNode, ...]:
        """All nodes, the lost ones included."""

    async def services(self) -> tuple[Service, ...]:
        """All services."""

    async def tasks(self, service_ids: Collection[str]) -> tuple[Task, ...]:
        """All tasks of these services that Swarm still remembers, ended ones included; none for an unknown service."""

    async def constrain(self, service_id: str, constraints: Collection[str], version: int) -> None:
        """Adds placement constraints that the service does not have yet, provided it is still at `version`.

        Raises Conflict when it has changed since, NotFound when it is gone.
        """

    async def release(self, service_id: str, constraints: Collection[str], version: int) -> None:
        """Takes placement constraints away; nothing happens when they are gone, or the service is.

        A service that is still at `version` is written in any case: a `constrain` for it that is still on its way, from
        an operator that leads no more, then comes too late. Raises Conflict when somebody else was faster.
        """

    def changes(self) -> AsyncGenerator[None, None]:
        """Yields soon after something has changed; may miss changes (tasks tell none) and may yield without any.

        The first comes when listening has begun. Goes on for ever through lost connections; ends when closed.
        """

    async def close(self) -> None:
        """Closes all connections; calls that hang go on in their threads until their time is over."""
