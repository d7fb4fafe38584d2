"""What has to be looked at when an object changes. Called by the cache for every change; quick, and cannot fail.

Delays gather what comes in bursts: a version that is stored changes its Checkpoint, then its Workload, then the totals
of its policy and its location.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmkeep.controllers.cache import Obj, held, is_under_way
from swarmkeep.controllers.queue import Key, KeyedQueue
from swarmkeep.controllers.world import World
from swarmkeep.model.checkpoint import CheckpointPhase
from swarmkeep.model.conditions import find_condition
from swarmkeep.model.ident import Ref, container_workload_name
from swarmkeep.model.kinds import (
    CHECKPOINT,
    LEASE,
    LOCATION,
    MIGRATION,
    NODE,
    NODE_LEASE_NAMESPACE,
    POLICY,
    RESTORE,
    WORKLOAD,
    Kind,
)
from swarmkeep.model.migration import parse_migration
from swarmkeep.model.node import parse_containers, parse_placement_failures
from swarmkeep.model.wire import section
from swarmkeep.model.workload import Phase
from swarmkeep.obs import operator_metrics as metrics

SOON_S = 0.2
POLICY_S = 1.0
TOTALS_S = 5.0
PLACEMENT_S = 3.0

_SETTLED = (CheckpointPhase.STORED, CheckpointPhase.REPLICATED, CheckpointPhase.FAILED)

_MATTERS_FOR_PLACEMENT = (
    *("conditions", "swarm", "versions", "features", "runtime", "criuCheck", "cpuFeatures", "disks", "images"),
    *("volumes", "networks", "taken", "capacity", "locations", "standbys", "placements"),
)

Wish = tuple[Kind, Ref, float]


class Dependents:
    """Connects the cache with the queue."""

    def __init__(self, world: World, queue: KeyedQueue) -> None:
        self._world = world
        self._queue = queue
        self._homeless: set[Ref] = set()
        """Plain containers whose node is lost: where they can go on depends on all nodes."""
        self.looks_wanted = False
        """Whether the Swarm should be looked at before its time: a policy may select what was not asked for yet."""

    def changed(self, kind: Kind, ref: Ref, old: Obj | None, new: Obj | None) -> None:
        """The cache's on_change."""
        for wish_kind, wish_ref, after_s in self._wishes(kind, ref, old, new):
            self._queue.add(Key(wish_kind.name, wish_ref), after_s)
        if new is None:
            self._queue.forget(Key(kind.name, ref))

    def _wishes(self, kind: Kind, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        if kind is LEASE:
            yield from self._of_lease(ref, new)
        elif kind is WORKLOAD:
            yield from self._of_workload(ref, old, new)
        elif kind is CHECKPOINT:
            yield from self._of_checkpoint(ref, old, new)
        elif kind is POLICY:
            yield from self._of_policy(ref, old, new)
        elif kind is NODE:
            yield from self._of_node(ref, old, new)
        elif kind is LOCATION:
            yield from self._of_location(ref, old, new)
        elif kind is RESTORE:
            yield from self._of_restore(ref, old, new)
        elif kind is MIGRATION:
            yield from self._of_migration(ref, old, new)

    def _of_lease(self, ref: Ref, new: Obj | None) -> Iterator[Wish]:
        if ref.namespace != NODE_LEASE_NAMESPACE:
            return
        node = Ref("", ref.name)
        if new is None:
            self._world.leases.gone(ref.name)
            yield NODE, node, 0.0
            return
        first = self._world.leases.view(ref.name) is None
        renewed = self._world.leases.saw(ref.name, new)
        if first or (renewed and not self._is_well(node)):
            # A renewal of a node that is well changes nothing: its next look is set for when the lease would run out.
            yield NODE, node, 0.0

    def _of_workload(self, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        if new is not None and "container" in section(new, "spec") and _phase(new) == Phase.LOST:
            self._homeless.add(ref)
        else:
            self._homeless.discard(ref)
        if new is not None:
            yield WORKLOAD, ref, 0.0
            _count_start(old, new)
        yield from self._migrations_of(ref)
        for obj in (old, new):
            order = section(obj or {}, "status", "order")
            if order:
                yield RESTORE, Ref(ref.namespace, order["restore"]), 0.0
            if obj is not None:
                policy = Ref(ref.namespace, section(obj, "spec")["policy"])
                yield POLICY, policy, SOON_S if new is None else POLICY_S

    def _of_restore(self, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        if new is not None:
            yield RESTORE, ref, 0.0
        elif old is not None:
            # Its order goes with it.
            yield WORKLOAD, Ref(ref.namespace, section(old, "spec")["workload"]), 0.0

    def _of_checkpoint(self, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        if new is not None and _needs_work(new):
            yield CHECKPOINT, ref, 0.0
        if _phase(old) != _phase(new):
            yield from self._migrations_of(Ref(ref.namespace, section(new or old or {}, "spec")["workload"]))
        was_unpinned = new is not None and _is_pinned(old) and not _is_pinned(new)
        if new is not None and (was_unpinned or _verified(old) != _verified(new)):
            # It may go now, or will not be restored any more, though its phase is the same.
            yield WORKLOAD, Ref(ref.namespace, section(new, "spec")["workload"]), SOON_S
        before, after = (set(held(obj)) if obj is not None else set() for obj in (old, new))
        for location, _ in before ^ after:
            yield LOCATION, Ref("", location), TOTALS_S
        if _phase(old) == _phase(new):
            return
        for obj in (old, new):
            if obj is not None and _phase(obj) in _SETTLED:
                yield WORKLOAD, Ref(ref.namespace, section(obj, "spec")["workload"]), SOON_S

    def _of_policy(self, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        self._world.policies_changed()
        if new is not None and old is not None and _generation(old) == _generation(new):
            yield POLICY, ref, POLICY_S
            return
        self.looks_wanted = True
        # Which of several policies has a service depends on all of them.
        for other in self._world.cache.all(POLICY):
            yield POLICY, other, 0.0
        for obj in self._world.cache.workloads_of_policy(ref):
            yield WORKLOAD, Ref(ref.namespace, obj["metadata"]["name"]), SOON_S

    def _of_node(self, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        self._world.nodes_changed()
        if new is not None:
            yield NODE, ref, SOON_S
        before, after = (section(obj or {}, "status") for obj in (old, new))
        ready_changed = _ready(old) != _ready(new)
        if ready_changed or before.get("locations") != after.get("locations"):
            for location in self._world.cache.all(LOCATION):
                yield LOCATION, location, SOON_S
        if ready_changed:
            for workload in self._world.cache.workloads_claimed_by(ref.name):
                yield WORKLOAD, workload, 0.0
            for checkpoint in self._world.cache.checkpoints_active_on(ref.name):
                yield CHECKPOINT, checkpoint, 0.0
        if any(before.get(name) != after.get(name) for name in _MATTERS_FOR_PLACEMENT):
            urgent = ready_changed or before.get("placements") != after.get("placements")
            for workload in self._homeless:
                yield WORKLOAD, workload, SOON_S if urgent else PLACEMENT_S
        if before.get("placements") != after.get("placements"):
            # Its claim may have gone back already, so that it does not look lost.
            told = [failure for obj in (old, new) if obj is not None for failure in parse_placement_failures(obj)]
            for failure in told:
                if self._world.cache.get(WORKLOAD, failure.workload) is not None:
                    yield WORKLOAD, failure.workload, SOON_S
        if ready_changed or before.get("containers") != after.get("containers"):
            yield from self._of_containers(old, new)
        if ready_changed or before.get("standbys") != after.get("standbys"):
            for migration, obj in self._world.cache.all(MIGRATION).items():
                # Those that have ended stay until somebody deletes them: there may be many, and parsing takes time.
                if not is_under_way(obj):
                    continue
                found = parse_migration(obj)
                if ref.name in (found.source, found.to):
                    yield MIGRATION, migration, 0.0
        ready_before, ready_after = (_standbys(status) for status in (before, after))
        for name in ready_before.keys() | ready_after.keys():
            # Every new version changes which one is ready; only whether one is matters here.
            if ready_changed or bool(ready_before.get(name)) != bool(ready_after.get(name)):
                workload = Ref.parse(name)
                if self._world.cache.get(WORKLOAD, workload) is not None:
                    yield WORKLOAD, workload, SOON_S

    def _of_containers(self, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        """Policies and workloads of the plain containers that a node has or had."""
        policies, workloads = set(), set()
        for obj in (old, new):
            for item in parse_containers(obj) if obj is not None else ():
                policies |= set(item.policies)
                workloads |= {Ref(ref.namespace, container_workload_name(item.name)) for ref in item.policies}
        for kind, refs in ((POLICY, policies), (WORKLOAD, workloads)):
            for ref in sorted(refs):
                if self._world.cache.get(kind, ref) is not None:
                    yield kind, ref, 0.0

    def _of_location(self, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        if new is not None:
            yield LOCATION, ref, SOON_S
        if old is not None and new is not None and _conditions(old) == _conditions(new):
            return
        for policy in self._world.cache.all(POLICY):
            yield POLICY, policy, SOON_S

    def _of_migration(self, ref: Ref, old: Obj | None, new: Obj | None) -> Iterator[Wish]:
        if new is not None:
            yield MIGRATION, ref, 0.0
        if old is not None and new is not None and _phase(old) == _phase(new):
            return
        if old is not None and new is not None:
            _count_move(new)
        obj = new if new is not None else old
        workload = parse_migration(obj).workload_ref if obj is not None else ref
        if self._world.cache.get(WORKLOAD, workload) is not None:
            # Its standby is where it goes to, for as long as it is on its way.
            yield WORKLOAD, workload, 0.0

    def _migrations_of(self, workload: Ref) -> Iterator[Wish]:
        for migration in self._world.cache.open_migrations_of(workload):
            yield MIGRATION, migration, 0.0

    def _is_well(self, node: Ref) -> bool:
        found = _ready(self._world.cache.get(NODE, node))
        return found is not None and found[0] == "True"


def _count_start(old: Obj | None, new: Obj) -> None:
    """Of a workload that was not known before nobody can tell whether its start is news."""
    start = section(new, "status", "lastStart")
    if old is not None and start and section(old, "status", "lastStart").get("at") != start.get("at"):
        metrics.STARTS.labels(start.get("how", ""), start.get("reason", "")).inc()


def _count_move(migration: Obj) -> None:
    """Called when its phase has changed."""
    spec, status = section(migration, "spec"), section(migration, "status")
    if is_under_way(migration) or spec.get("dryRun"):
        return
    metrics.MIGRATIONS.labels(spec.get("mode", ""), status["phase"]).inc()
    if "downtimeSeconds" in status:
        metrics.MIGRATION_DOWNTIME_SECONDS.labels(spec.get("mode", "")).observe(status["downtimeSeconds"])


def _phase(obj: Obj | None) -> str | None:
    return None if obj is None else section(obj, "status").get("phase", "")


def _needs_work(obj: Obj) -> bool:
    """Whether a version is on its way in or out, or is to be verified."""
    if "deletionTimestamp" in obj["metadata"] or _phase(obj) not in _SETTLED:
        return True
    wish = section(obj, "spec", "verify").get("requestedAt")
    return bool(section(obj, "status", "verification")) or (
        wish is not None and wish != section(obj, "status", "verified").get("requestedAt")
    )


def _verified(obj: Obj | None) -> Mapping[str, object]:
    return section(obj or {}, "status", "verified")


def _is_pinned(obj: Obj | None) -> bool:
    return section(obj or {}, "spec").get("pinned", False) is True


def _standbys(status: Obj) -> dict[str, int | None]:
    return {item["workload"]: item.get("version") for item in status.get("standbys") or ()}


def _generation(obj: Obj) -> object:
    return obj["metadata"].get("generation"), obj["metadata"].get("uid")


def _conditions(obj: Obj) -> object:
    return section(obj, "status").get("conditions")


def _ready(obj: Obj | None) -> tuple[str, str] | None:
    found = find_condition(section(obj or {}, "status").get("conditions") or (), "Ready")
    return None if found is None else (found.get("status", ""), found.get("reason", ""))
