"""What a migration looks like right now: where the workload runs, what is in the way, what it took. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint, Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.migration import Migration, MigrationPhase
from swarmkeep.model.swarm import Task
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import End, Phase, Workload
from swarmkeep.plan.moving import Scene, Side, obstacles
from swarmkeep.plan.resolve import running_task

MOVE_LIMIT = timedelta(minutes=5)
"""The longest that it may take until the old task has ended, and then until the new one runs."""
SETTLE = timedelta(seconds=5)
"""After the Swarm was told that all is as before: how long it may yet do what it had begun."""


@dataclass(frozen=True, slots=True)
class MigrationView:
    """Everything that the decision about one Migration needs."""

    migration: Migration
    scene: Scene
    swarm_known: bool
    rivals: tuple[Migration, ...]
    """The other open migrations of the workload."""
    hindrance: str
    """Something else that is under way with the workload; empty when nothing is."""
    checkpoints: tuple[Checkpoint, ...]
    """The workload's versions, those that were asked for included."""
    clock_offsets: Mapping[str, float]
    """How far each node's clock is ahead of the API server's, in seconds, as far as known."""
    runs_at_source: bool
    """The source's agent reports the plain container that it was ordered to stop as running."""


def refusal(view: MigrationView) -> str:
    """Why it is not done; nothing was stopped so far."""
    item = view.migration
    older = [one for one in view.rivals if _rank(one) < _rank(item) or one.is_binding]
    if older:
        return f"migration {older[0].ref.name} of it is under way"
    return view.hindrance or "; ".join(obstacles(view.scene, item.to))


def departure(view: MigrationView) -> str:
    """Whether it runs elsewhere by now, in words; empty when it does not."""
    item, workload = view.migration, view.scene.workload
    if workload is not None and workload.claim.epoch == item.epoch:
        return ""
    return f"it has left {item.source} by itself meanwhile"


def mishap(view: MigrationView, now: datetime) -> str:
    """What has happened while the task is between two nodes, or takes too long."""
    item, scene = view.migration, view.scene
    if scene.workload is None:
        return f"the workload {item.workload} was deleted"
    target = scene.target
    if scene.workload.container_name is None:
        if scene.service is None:
            return "the service was removed"
        if not is_wanted(scene):
            return "the service was scaled down"
        if target is None or target.swarm is None or not target.swarm.ready:
            return f"{item.to} was lost"
        if target.swarm.availability == "drain":
            return f"{item.to} is being drained"
    elif scene.workload.claim.node == item.source and (scene.source is None or scene.source.lost):
        return f"{item.source} was lost"
    if target is None or target.lost or not target.ready:
        return f"{item.to} was lost"
    if now >= phase_limit(item, now):
        minutes = MOVE_LIMIT.total_seconds() / 60
        what = (
            f"has not ended on {item.source}"
            if item.phase is MigrationPhase.MOVING
            else f"has not come up on {item.to}"
        )
        task = next(_wants(scene, scene.workload.slot or 0), None)
        said = f": the Swarm says {task.state}, {task.message}" if task is not None else ""
        return f"it {what} within {minutes:g} minutes{said}"
    return ""


def phase_limit(item: Migration, now: datetime) -> datetime:
    """When the phase that it is in has taken too long."""
    return (item.phase_since or now) + MOVE_LIMIT


def runs_on(view: MigrationView) -> str:
    """The node on which it runs with nobody meaning to stop it; empty when that is not so, or not certain."""
    workload = view.scene.workload
    if workload is None or workload.phase is not Phase.RUNNING:
        return ""
    if workload.container_name is not None:
        # Its claim goes as soon as its process does, and the next one is of the next epoch.
        stale = view.migration.phase is MigrationPhase.RESTORING and workload.claim.epoch == view.migration.epoch
        lost = any(one is not None and one.lost and one.name == workload.claim.node for one in _sides(view))
        return "" if stale or lost else workload.claim.node
    task = running_task(workload.slot, view.scene.tasks)
    holder = next((node for node in view.scene.nodes if task is not None and node.id == task.node_id), None)
    if task is None or holder is None or not holder.ready:
        return ""
    start = workload.last_start
    came_up = workload.claim.epoch == view.migration.epoch or (start is not None and start.task_id == task.id)
    side = next((one for one in _sides(view) if one is not None and one.swarm == holder), None)
    name = side.name if side is not None else holder.hostname
    return name if came_up and name == workload.claim.node and not (side is not None and side.lost) else ""


def may_yet_stop(view: MigrationView, now: datetime) -> bool:
    """It seems to run on as before, but the Swarm was told to move it a moment ago and may be about to."""
    workload, placement = view.scene.workload, view.migration.placement
    if workload is None or placement is None or placement.returned_at is None:
        return False
    return workload.claim.epoch == view.migration.epoch and now < placement.returned_at + SETTLE


def is_container(view: MigrationView) -> bool:
    """Whether it is a plain container, which is none of the Swarm's business."""
    return view.scene.workload is not None and view.scene.workload.container_name is not None


def is_wanted(scene: Scene) -> bool:
    """Whether the Swarm has a place for it, though there may be no task in that just now."""
    slot = scene.workload.slot if scene.workload is not None else None
    if scene.workload is not None and scene.workload.container_name is not None:
        return True
    if scene.service is None or slot is None:
        return False
    return any(_wants(scene, slot)) or sum(task.wanted for task in scene.tasks) < scene.service.replicas


def was_stopped(workload: Workload) -> bool:
    """Whether it ended because somebody stopped it, and not by itself."""
    return workload.last_end is not None and workload.last_end.how is End.STOPPED


def version_of(view: MigrationView, number: int | None) -> Checkpoint | None:
    """The workload's version of that number."""
    return next((one for one in view.checkpoints if number is not None and one.version == number), None)


def is_final(view: MigrationView, version: Checkpoint | None) -> bool:
    """Whether it went on from the version that was taken as it stopped."""
    workload = view.scene.workload
    if version is not None:
        return version.reason is Reason.FINAL
    if workload is None or workload.last_start is None or workload.last_end is None:
        return False
    return workload.last_end.final_version == workload.last_start.version


def figures(view: MigrationView, final: Checkpoint | None) -> dict[str, Any]:
    """Times by the nodes' clocks, made comparable as far as their offsets are known; bytes of all that was written."""
    item, workload = view.migration, view.scene.workload
    start = workload.last_start if workload else None
    fields: dict[str, Any] = {"version": start.version if start else None}
    wrote = sum(one.bytes or 0 for one in item.rounds)
    if final is not None and final.reason is Reason.FINAL:
        fields["bytes"] = wrote + final.stored_bytes
        if final.taken_at is not None and start is not None and start.at is not None and workload is not None:
            stopped_at = final.taken_at - timedelta(seconds=view.clock_offsets.get(item.source, 0.0))
            running_at = start.at - timedelta(seconds=view.clock_offsets.get(workload.claim.node, 0.0))
            fields["stoppedAt"], fields["runningAt"] = format_time(stopped_at), format_time(running_at)
            fields["downtimeSeconds"] = round(max(0.0, (running_at - stopped_at).total_seconds()), 3)
    return fields


def pull_note(view: MigrationView) -> str:
    """For a dry run: what else is to be known."""
    traits, target = view.scene.traits, view.scene.target
    if traits is None or target is None or traits.image_id in target.facts.images.values():
        return ""
    return f"; its image is not on {target.name}, PreCopy would bring it there before anything stops"


def workload_of(view: MigrationView) -> Ref:
    """What is moved."""
    return Ref(view.migration.ref.namespace, view.migration.workload)


def _sides(view: MigrationView) -> tuple[Side | None, ...]:
    return view.scene.source, view.scene.target


def _wants(scene: Scene, slot: int) -> Iterator[Task]:
    return (task for task in scene.tasks if task.wanted and task.slot == slot)


def _rank(item: Migration) -> tuple[str, str]:
    return (item.created_at.isoformat() if item.created_at else "", item.ref.name)
