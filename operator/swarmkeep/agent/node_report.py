"""Keeps this node's Node object true: what it is, what it can do, and which locations it reaches."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

import swarmkeep
from swarmkeep.agent.host_report import HostReport
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.placements import Placements
from swarmkeep.agent.plain_containers import PlainContainers
from swarmkeep.agent.runtime.features import NodeFeatures
from swarmkeep.agent.standby import Standby
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.errors import NotFound, SwarmKeepError
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import NODE

log = structlog.get_logger(__name__)

INTERVAL_S = 5.0


class NodeReport:
    """Writes the object when something in it has changed."""

    def __init__(
        self,
        node: str,
        client: Client,
        features: NodeFeatures,
        host: HostReport,
        locations: Locations,
        tracked: TrackedContainers,
        standby: Standby,
        plain: PlainContainers,
        placements: Placements,
    ) -> None:
        self._node = node
        self._client = client
        self._features = features
        self._host = host
        self._locations = locations
        self._tracked = tracked
        self._standby = standby
        self._plain = plain
        self._placements = placements
        self._written: dict[str, Any] | None = None

    async def run(self) -> None:
        """Reports for ever."""
        while True:
            status = self._status(await self._locations.check()) | await self._host.status()
            status |= await self._plain.status()
            if status != self._written:
                try:
                    await self._write(status)
                    self._written = status
                except SwarmKeepError as error:
                    log.warning("could not report the node", error=str(error))
            try:
                # Somebody may be waiting for a version to be ready here.
                async with asyncio.timeout(INTERVAL_S):
                    await self._standby.news.wait()
            except TimeoutError:
                pass
            self._standby.news.clear()

    async def _write(self, status: dict[str, Any]) -> None:
        try:
            await self._client.patch(NODE, self._node, {"status": status}, subresource="status")
        except NotFound:
            body = {"apiVersion": NODE.api_version, "kind": NODE.name, "metadata": {"name": self._node}, "spec": {}}
            await self._client.create(NODE, body)
            await self._client.patch(NODE, self._node, {"status": status}, subresource="status")

    def _status(self, locations: list[dict[str, Any]]) -> dict[str, Any]:
        features = self._features
        return {
            "swarmNodeID": features.swarm_node_id,
            "machine": features.machine,
            "addresses": [features.swarm_address] if features.swarm_address else [],
            "versions": {
                "swarmkeep": swarmkeep.__version__,
                "docker": features.docker_version,
                "runc": features.runc_version,
                "criu": features.criu_version,
                "kernel": features.kernel,
            },
            "features": {
                "lazyPages": features.lazy_pages,
                "memoryTracking": features.memory_tracking,
                "cgroupVersion": features.cgroup_version,
                "createsContainers": True,
            },
            "locations": locations,
            "standbys": self._standby.report(),
            "placements": self._placements.report(),
            "workloads": sum(item.epoch > 0 and item.end is None for item in self._tracked),
        }
