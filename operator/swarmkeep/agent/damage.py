"""The copies of versions that anybody has found damaged, as this node last heard of them: few, and remembered while the
API is away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.checkpoint import Checkpoint, Result, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT

_NOT_CLEAN = f"status.verified.result!=,status.verified.result!={Result.GOOD}"


class KnownDamage:
    """Asked before a version is read, and before another leans on its packs."""

    def __init__(self, client: Client) -> None:
        self._mirror = Mirror(client, CHECKPOINT, fields=_NOT_CLEAN)

    async def run(self) -> None:
        """Listens for ever."""
        await self._mirror.run()

    def of(self, workload: Ref, location: str) -> frozenset[int]:
        """Numbers of a workload's versions that are damaged in that location now."""
        return frozenset(
            item.version or 0 for item in self._versions(workload) if item.is_damaged_in(location) and item.version
        )

    def ever_of(self, workload: Ref, location: str) -> frozenset[int]:
        """The same, and those that were damaged there and are repaired: others may lean on what they had lost."""
        return frozenset(
            item.version
            for item in self._versions(workload)
            if item.version and (look := item.look(location)) is not None and look.damaged_at is not None
        )

    def sound(self, workload: Ref, number: int, locations: Sequence[str]) -> tuple[str, ...]:
        """Those of the locations from which that version can be read as far as is known; all if from none."""
        sound = tuple(name for name in locations if number not in self.of(workload, name))
        return sound or tuple(locations)

    def _versions(self, workload: Ref) -> Iterator[Checkpoint]:
        for obj in self._mirror.objects.values():
            item = parse_checkpoint(obj)
            if (item.ref.namespace, item.workload) == (workload.namespace, workload.name):
                yield item
