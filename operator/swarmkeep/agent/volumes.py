"""The volumes of this node's workloads: which are taken along in a version, and how they come back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swarmkeep.agent.runtime.containers import ContainerFacts, Containers
from swarmkeep.agent.runtime.volumes import Volume, VolumeUnsupported, find_volumes, others_on, read_index
from swarmkeep.agent.volume_switch import Owner, Put, VolumeSwitch
from swarmkeep.errors import RestoreFailed
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy


class VolumeShared(VolumeUnsupported):
    """Another container writes to the volume while this one stands still."""

    reason = "VolumeShared"


class Volumes:
    """Asks Docker and the node's disk; a policy that names no volumes costs nothing."""

    def __init__(self, containers: Containers, switch: VolumeSwitch, forbidden: Sequence[Path]) -> None:
        """`forbidden` are the folders in which SwarmKeep and Docker keep their own data."""
        self._containers = containers
        self._switch = switch
        self._forbidden = tuple(forbidden)

    async def to_take(self, facts: ContainerFacts, policy: Policy) -> tuple[Volume, ...]:
        """What a version of the container takes along.

        Raises VolumeUnsupported, VolumeShared when another container may write to one meanwhile, and Unavailable.
        """
        found = await asyncio.to_thread(find_volumes, facts, policy.volumes, self._forbidden)
        if found:
            others = [other for other in await self._containers.list_running() if other.id != facts.id]
            for volume in found:
                if users := others_on(volume, others, writers=True):
                    raise VolumeShared(
                        f"{volume} cannot be taken along: {', '.join(users)} may write to it as well, and would go on "
                        "while this container stands still. Give each container a volume of its own, mount it "
                        "read-only there, or leave it out of checkpoint.volumes"
                    )
        return found

    async def to_put(self, facts: ContainerFacts, policy: Policy, version: Path) -> tuple[tuple[Volume, Path], ...]:
        """Volumes of a new container that the version in that folder has, with its captured content.

        What the policy does not name any more stays as it is on the node. Raises DataError, VolumeUnsupported.
        """

        def find() -> tuple[tuple[Volume, Path], ...]:
            captured = read_index(version)
            if not captured:
                return ()
            found = find_volumes(facts, policy.volumes, self._forbidden)
            return tuple(
                (volume, captured[volume.type, volume.source])
                for volume in found
                if (volume.type, volume.source) in captured
            )

        return await asyncio.to_thread(find)

    async def in_use(self, facts: ContainerFacts, volumes: Sequence[Volume]) -> str:
        """Who else has one of them mounted, in words; empty when nobody has. Raises Unavailable."""
        others = [other for other in await self._containers.list_running() if other.id != facts.id]
        for volume in volumes:
            if users := others_on(volume, others, writers=False):
                return f"{', '.join(users)} to let go of {volume}"
        return ""

    async def prepare(self, owner: Owner, version: int, volumes: Sequence[tuple[Volume, Path]]) -> tuple[Put, ...]:
        """Makes all of the contents beside their volumes. Raises DataError, StorageFull, RestoreFailed."""
        return tuple(
            [
                await asyncio.to_thread(self._switch.prepare, owner, version, volume, captured)
                for volume, captured in volumes
            ]
        )

    async def switch(self, puts: Sequence[Put]) -> None:
        """Puts them in their places, or none of them. Raises StorageFull, RestoreFailed."""

        def switch() -> None:
            try:
                for put in puts:
                    self._switch.switch(put)
            except BaseException:
                self._put_back(puts)
                raise

        switching = asyncio.ensure_future(asyncio.to_thread(switch))
        try:
            await asyncio.shield(switching)
        except asyncio.CancelledError:
            # Whoever was called off must find all of them switched, or none.
            await asyncio.wait({switching})
            switching.add_done_callback(lambda future: future.exception())
            raise

    async def put_back(self, puts: Sequence[Put]) -> None:
        """Undoes `switch`: the process did not come up. Raises RestoreFailed when one cannot be put back."""
        await asyncio.to_thread(self._put_back, puts)

    async def confirm(self, puts: Sequence[Put]) -> None:
        """The process came up."""
        for put in puts:
            await asyncio.to_thread(self._switch.confirm, put)

    async def taken(self, workload: Ref, facts: dict[str, Any]) -> None:
        """A version with these facts is in storage: what its volumes have is the workload's."""
        owner = Owner(workload, str(facts.get("serviceID", "")))
        for item in facts.get("volumes") or ():
            await asyncio.to_thread(self._switch.taken, owner, Path(item["path"]), item["inode"])

    def _put_back(self, puts: Sequence[Put]) -> None:
        trouble = []
        for put in reversed(puts):
            try:
                self._switch.put_back(put)
            except RestoreFailed as error:
                trouble.append(f"{error}; what it had before is in {put.aside}")
        if trouble:
            raise RestoreFailed("; ".join(trouble))


def volumes_facts(volumes: Sequence[Volume]) -> list[dict[str, Any]]:
    """What a manifest says of the volumes that a version took along."""
    return [
        {
            "type": volume.type,
            "source": volume.source,
            "target": volume.target,
            "path": str(volume.path),
            "inode": volume.inode,
        }
        for volume in volumes
    ]
