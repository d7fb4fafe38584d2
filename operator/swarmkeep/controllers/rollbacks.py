"""What the operator knows of one Restore, cut to the size of its decision. Reads the world; changes nothing.

Called by the driver, once for each cycle.
"""

from __future__ import annotations

from swarmkeep.controllers.world import World
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import RESTORE, WORKLOAD
from swarmkeep.model.restore import RestoreRequest, parse_restore
from swarmkeep.model.workload import Workload
from swarmkeep.plan.restore_request import RestoreView
from swarmkeep.plan.workload_status import Place


def restore_view(world: World, ref: Ref) -> RestoreView:
    """For plan_restore. Raises InvalidObject for a Restore whose timeout is none."""
    request = parse_restore(world.cache.all(RESTORE)[ref])
    workload = Ref(ref.namespace, request.workload)
    if world.cache.get(WORKLOAD, workload) is None:
        return RestoreView(request, None, False, Place.UNKNOWN, False, "", "", "", ())
    seen = world.workload_view(workload)
    service = world.swarm.services.get(seen.workload.service_id) if world.swarm else None
    return RestoreView(
        request=request,
        workload=seen.workload,
        protected=seen.policy is not None and seen.selected,
        place=seen.place,
        restarts=service is None or service.restarts,
        task_id=seen.task.id if seen.task else "",
        task_message=seen.task.message if seen.task else "",
        rival=_rival(world, request, seen.workload),
        checkpoints=seen.checkpoints,
    )


def _rival(world: World, request: RestoreRequest, workload: Workload) -> str:
    order = workload.order
    if order is not None and order.id != request.id:
        return f"Restore {order.restore}"
    migrations = world.cache.open_migrations_of(workload.ref)
    return f"Migration {migrations[0].name}" if migrations else ""
