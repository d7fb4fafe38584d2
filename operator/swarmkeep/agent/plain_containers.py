"""Reports this node's plain containers that policies select: the operator knows of them from nobody else."""

from __future__ import annotations

from typing import Any

import structlog

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.errors import Unavailable
from swarmkeep.plan.protection import is_plain, selecting

log = structlog.get_logger(__name__)


class PlainContainers:
    """A part of the Node's status."""

    def __init__(self, containers: Containers, desired: Desired) -> None:
        self._containers = containers
        self._desired = desired
        self._told: list[dict[str, Any]] | None = None

    async def status(self) -> dict[str, Any]:
        """Fields of the Node's status. Never raises; while Docker does not answer it says what it said before."""
        if self._desired.known.is_set():
            try:
                self._told = await self._look()
            except Unavailable as error:
                log.warning("cannot list the containers", error=str(error))
        return {} if self._told is None else {"containers": self._told}

    async def _look(self) -> list[dict[str, Any]]:
        policies = tuple(self._desired.policies.values())
        if not any(policy.selector.is_for_containers for policy in policies):
            return []
        found = []
        for item in await self._containers.list_all():
            selected_by = selecting(item.name, item.labels, policies) if is_plain(item.labels) else []
            if selected_by:
                names = [str(policy.ref) for policy in selected_by]
                found.append({"name": item.name, "id": item.id, "running": item.running, "policies": names})
        return sorted(found, key=lambda report: str(report["name"]))
