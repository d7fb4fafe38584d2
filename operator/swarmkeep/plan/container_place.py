"""Whether a plain container is still wanted, and where. Pure; used by the operator."""

from __future__ import annotations

from collections.abc import Iterable

from swarmkeep.model.node import SeenContainer
from swarmkeep.model.workload import Phase, Workload
from swarmkeep.plan.workload_status import Place


def container_place(
    workload: Workload, seen: Iterable[SeenContainer], lost: frozenset[str], *, failed: bool = False
) -> Place:
    """What has become of a plain container. `seen` are those of its name; `lost` nodes report no more.

    One whose node was lost while it ran is wanted until it runs again: nobody has stopped it. `failed` says that a node
    was to go on with it and could not.
    """
    seen = tuple(seen)
    present = [item for item in seen if item.node not in lost]
    if any(item.running for item in present):
        return Place.WANTED
    if workload.claim.node in lost and workload.phase is not Phase.STOPPED:
        return Place.WANTED
    if not workload.claim.node and (failed or _is_sent(workload)):
        return Place.WANTED
    return Place.NOT_WANTED if seen else Place.CONTAINER_GONE


def _is_sent(workload: Workload) -> bool:
    """Whether a node is to go on with it: its claim may have been given back meanwhile, by the node that was lost."""
    return workload.placement is not None and workload.placement.epoch == workload.claim.epoch


def is_adrift(workload: Workload, seen: Iterable[SeenContainer], lost: frozenset[str], place: Place) -> bool:
    """Whether it is wanted and runs nowhere: then a node has to be found for it."""
    if place is not Place.WANTED:
        return False
    if workload.claim.node:
        return workload.claim.node in lost
    return not any(item.running for item in seen if item.node not in lost)
