"""The versions that anybody has found damaged, as this node last heard of them: few, and remembered while the API is
away."""

from __future__ import annotations

from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.checkpoint import Result
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT
from swarmkeep.model.wire import section


class KnownDamage:
    """Asked before a version is chosen for a restore, and before another leans on its packs."""

    def __init__(self, client: Client) -> None:
        self._mirror = Mirror(client, CHECKPOINT, fields=f"status.verified.result={Result.DAMAGED}")

    async def run(self) -> None:
        """Listens for ever."""
        await self._mirror.run()

    def of(self, workload: Ref) -> frozenset[int]:
        """Numbers of a workload's damaged versions."""
        return frozenset(
            section(obj, "status")["version"]
            for ref, obj in self._mirror.objects.items()
            if ref.namespace == workload.namespace
            and section(obj, "spec")["workload"] == workload.name
            and "version" in section(obj, "status")
        )
