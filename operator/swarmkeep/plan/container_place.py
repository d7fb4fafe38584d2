"""Whether a plain container is still wanted, and where. Pure; used by the operator."""

from __future__ import annotations

from collections.abc import Iterable

from swarmkeep.model.node import SeenContainer
from swarmkeep.model.workload import Phase, Workload
from swarmkeep.plan.workload_status import Place


def container_place(workload: Workload, seen: Iterable[SeenContainer], lost: frozenset[str]) -> Place:
    """What has become of a plain container. `seen` are those of its name; `lost` nodes report no more.

    One whose node was lost while it ran is wanted until it runs again: nobody has stopped it.
    """
    seen = tuple(seen)
    present = [item for item in seen if item.node not in lost]
    if any(item.running for item in present):
        return Place.WANTED
    if workload.claim.node in lost and workload.phase is not Phase.STOPPED:
        return Place.WANTED
    return Place.NOT_WANTED if seen else Place.CONTAINER_GONE
