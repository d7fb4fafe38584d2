"""What the operator knows of one migration, cut to the size of its decision. Reads the world; changes nothing.

Called by the driver, once for each cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmkeep.controllers.cache import Obj
from swarmkeep.controllers.world import World
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import MIGRATION, NODE, WORKLOAD
from swarmkeep.model.migration import parse_migration
from swarmkeep.model.node import parse_node
from swarmkeep.model.swarm import Service, Snapshot
from swarmkeep.model.traits import parse_traits
from swarmkeep.model.wire import section
from swarmkeep.plan.container_placement import place
from swarmkeep.plan.findings import Finding
from swarmkeep.plan.migration_view import MigrationView
from swarmkeep.plan.moving import Scene, Side
from swarmkeep.plan.needs import needs_of
from swarmkeep.plan.nodes import is_lost, is_ready
from swarmkeep.plan.workload_status import WorkloadView


def migration_view(world: World, ref: Ref) -> MigrationView:
    """For plan_migration."""
    migration = parse_migration(world.cache.all(MIGRATION)[ref])
    workload = Ref(ref.namespace, migration.workload)
    rivals = (parse_migration(obj) for obj in world.cache.migrations_of(workload))
    nodes = [parse_node(obj) for obj in world.cache.all(NODE).values()]
    found = world.workload_view(workload) if world.cache.get(WORKLOAD, workload) is not None else None
    stop = migration.stop
    return MigrationView(
        migration=migration,
        scene=_scene(world, workload, migration.source, migration.to),
        swarm_known=world.swarm is not None,
        rivals=tuple(one for one in rivals if one.is_open and one.ref != ref),
        hindrance=_hindrance(world, workload),
        checkpoints=found.checkpoints if found is not None else (),
        clock_offsets={node.name: node.clock_offset_s for node in nodes if node.clock_offset_s is not None},
        runs_at_source=found is not None
        and stop is not None
        and any(item.running and (item.node, item.id) == (stop.node, stop.container_id) for item in found.containers),
    )


def _hindrance(world: World, workload: Ref) -> str:
    order = section(world.cache.get(WORKLOAD, workload) or {}, "status", "order")
    return f"Restore {order['restore']} is under way with {workload}; wait for it to end, or delete it" if order else ""


def _scene(world: World, ref: Ref, source: str, target: str) -> Scene:
    swarm = world.swarm or Snapshot()
    obj = world.cache.get(WORKLOAD, ref)
    to = _side(world, target, ref)
    nodes = tuple(swarm.nodes.values())
    if obj is None:
        return Scene(None, None, None, None, (), nodes, None, to)
    view = world.workload_view(ref)
    workload, service = view.workload, swarm.services.get(view.workload.service_id)
    return Scene(
        workload=workload,
        policy=view.policy if view.selected else None,
        traits=parse_traits(obj),
        service=service,
        tasks=swarm.tasks.get(workload.service_id, ()),
        nodes=nodes,
        source=_side(world, source or workload.claim.node, ref),
        target=to,
        unfit=_unfit(world, view, obj, service, target),
    )


def _unfit(world: World, view: WorkloadView, obj: Obj, service: Service | None, target: str) -> tuple[Finding, ...]:
    if view.policy is None:
        return ()
    nodes, failures = world.node_facts()
    needs = needs_of(
        view.workload,
        str(obj["metadata"].get("uid") or ""),
        parse_traits(obj),
        view.policy,
        view.checkpoints,
        nodes,
        constraints=service.constraints if service is not None else (),
        failed=failures.get(view.workload.ref),
    )
    verdicts = place(needs, nodes, view.policy.placement).verdicts
    return next((verdict.reasons for verdict in verdicts if verdict.node == target), ())


def _side(world: World, name: str, workload: Ref) -> Side | None:
    obj: Obj | None = world.cache.get(NODE, Ref("", name))
    if obj is None:
        return None
    status = section(obj, "status")
    conditions = tuple(status.get("conditions") or ())
    said: Mapping[str, Any] = next(
        (item for item in status.get("standbys") or () if item["workload"] == str(workload)), {}
    )
    return Side(
        name=name,
        facts=parse_node(obj),
        ready=is_ready(conditions),
        lost=is_lost(conditions),
        swarm=world.swarm_node(obj),
        locations=frozenset(item["name"] for item in status.get("locations") or () if item["reachable"]),
        standby_version=said.get("version"),
        standby_message=said.get("message") or "",
    )
