"""What the operator knows, cut to the size of one decision. Reads the cache, the leases and the Swarm; changes nothing.

Called by the driver, once for each cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.controllers.cache import Cache, Obj, ref_of
from swarmkeep.controllers.containers import Containers
from swarmkeep.controllers.leases import Leases
from swarmkeep.errors import InvalidObject, Unavailable
from swarmkeep.model.checkpoint import Checkpoint, Reason, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_NODE, LOCATION, NODE, POLICY, RESTORE, WORKLOAD
from swarmkeep.model.migration import parse_migration
from swarmkeep.model.node import NodeFacts, PlacementFailure, SeenContainer, parse_node, parse_placement_failures
from swarmkeep.model.policy import Policy, parse_policy
from swarmkeep.model.swarm import Service, Snapshot, SwarmNode
from swarmkeep.model.traits import parse_traits
from swarmkeep.model.wire import optional_time, section
from swarmkeep.model.workload import Phase, Workload, parse_replicas, parse_workload
from swarmkeep.plan.actions import WorkloadSpec
from swarmkeep.plan.assignments import CheckpointView
from swarmkeep.plan.container_failover import FailoverView
from swarmkeep.plan.container_place import container_place, is_adrift
from swarmkeep.plan.importing import ImportState
from swarmkeep.plan.location_status import LocationView, Report, where_of
from swarmkeep.plan.needs import needs_of
from swarmkeep.plan.nodes import NodeView, is_lost, is_ready
from swarmkeep.plan.placement import may_run_on
from swarmkeep.plan.policy_status import Member, PolicyView
from swarmkeep.plan.resolve import matches, task_of, winner_of
from swarmkeep.plan.standby import StandbyNode
from swarmkeep.plan.workers import Worker
from swarmkeep.plan.workload_status import Place, WorkloadView


class NotYet(Unavailable):
    """Something that a decision needs is being asked for right now."""


class World:
    """Everything known. `swarm` is None while the Swarm cannot be asked; `swarm_problem` then says why."""

    def __init__(self, cache: Cache, leases: Leases, scrub_interval: timedelta = timedelta()) -> None:
        """`scrub_interval`: how often every version is read back unasked; zero for never."""
        self.cache = cache
        self.leases = leases
        self._scrub_interval = scrub_interval
        self.swarm: Snapshot | None = None
        self.swarm_problem = "the Swarm was not asked yet"
        self._policies: dict[Ref, tuple[str, Policy | str]] = {}
        self._sound: list[Policy] | None = None
        self._winners: dict[str, Ref | None] = {}
        """The policy that has each service; true for `_winners_among` and the policies known now."""
        self._winners_among: Mapping[str, Service] | None = None
        self._workers: tuple[Worker, ...] | None = None
        self._containers: Containers | None = None
        self._node_facts: tuple[tuple[NodeFacts, ...], Mapping[Ref, Mapping[str, PlacementFailure]]] | None = None
        self._parsed_nodes: dict[str, tuple[str, NodeFacts]] = {}
        """With the resourceVersion that was parsed: a big Swarm has many nodes, of which few change."""
        self._node_names: dict[str, str] = {}

    def nodes_changed(self) -> None:
        """Forgets what was worked out from the Node objects."""
        self._workers = None
        self._containers = None
        self._node_facts = None

    def policies_changed(self) -> None:
        """Forgets what was worked out from the policies."""
        self._sound = None
        self._winners.clear()

    def policies(self) -> list[Policy]:
        """All policies that can be carried out."""
        if self._sound is None:
            found = map(self._policy, self.cache.all(POLICY))
            self._sound = [policy for policy in found if isinstance(policy, Policy)]
        return self._sound

    def policy_view(self, ref: Ref) -> PolicyView:
        """For plan_policy. Raises NotYet while the tasks of a service that it selects are unknown."""
        obj = self.cache.all(POLICY)[ref]
        found = self._policy(ref)
        policy, problem = (found, "") if isinstance(found, Policy) else (None, str(found))
        if policy is not None and self.swarm is not None:
            for service in self.swarm.services.values():
                if service.id not in self.swarm.tasks and matches(policy.selector, service):
                    raise NotYet(f"the tasks of service {service.name} are not known yet")
        return PolicyView(
            ref=ref,
            generation=_generation(obj),
            policy=policy,
            problem=problem,
            rivals=tuple(self.policies()),
            swarm=self.swarm,
            swarm_problem=self.swarm_problem,
            known=_Specs(self.cache),
            members=tuple(
                Member(
                    parse_workload(item), _conditions(item), _failure(item), parse_replicas(item), parse_traits(item)
                )
                for item in self.cache.workloads_of_policy(ref)
            ),
            locations={name: self._location_conditions(name) for name in policy.locations} if policy else {},
            containers=self.containers().of_policy(ref),
            lost_nodes=self.containers().lost_nodes,
        )

    def workload_view(self, ref: Ref) -> WorkloadView:
        """For plan_workload."""
        obj = self.cache.all(WORKLOAD)[ref]
        workload = parse_workload(obj)
        found = self._policy(Ref(ref.namespace, workload.policy))
        policy = found if isinstance(found, Policy) else None
        service = self.swarm.services.get(workload.service_id) if self.swarm else None
        place, task = Place.UNKNOWN, None
        moving_to = self._moving_to(ref)
        warm = bool(moving_to) or (policy is not None and policy.restore.warm_standby > 0)
        containers: tuple[SeenContainer, ...] = ()
        adrift = False
        selected = policy is not None and (service is None or self._has(policy, service))
        if workload.container_name is not None:
            containers = self.containers().of_name(workload.container_name)
            lost = self.containers().lost_nodes
            failed = any(
                failure.epoch == workload.claim.epoch for failure in self.node_facts()[1].get(ref, {}).values()
            )
            place = container_place(workload, containers, lost, failed=failed)
            adrift = is_adrift(workload, containers, lost, place)
            selected = policy is not None and all(item.policies[0] == policy.ref for item in containers)
        elif self.swarm is not None:
            tasks = self.swarm.tasks.get(workload.service_id)
            task = task_of(spec_of(obj), tasks) if tasks else None
            if service is None:
                place = Place.SERVICE_GONE
            elif tasks is not None:
                place = Place.WANTED if task is not None and task.wanted else Place.NOT_WANTED
        checkpoints = tuple(parse_checkpoint(item) for item in self.cache.checkpoints_of(ref))
        node_lost, failover = self._node_lost(workload), None
        if adrift:
            failover = self._failover(obj, workload, policy, checkpoints)
        return WorkloadView(
            workload=workload,
            generation=_generation(obj),
            has_phase="phase" in section(obj, "status"),
            failure=_failure(obj),
            started_at=optional_time(section(obj, "status", "container").get("startedAt")),
            conditions=_conditions(obj),
            policy=policy,
            selected=selected,
            place=place,
            task=task,
            task_node=self._node_name(task.node_id) if task else "",
            node_lost=node_lost,
            checkpoints=checkpoints,
            workers=self.workers(),
            scrub_interval=self._scrub_interval,
            standbys=self._standbys(ref, service) if warm else (),
            moving_to=moving_to,
            constraints=service.constraints if service is not None else (),
            containers=containers,
            failover=failover,
            order_stands=self._order_stands(workload),
        )

    def checkpoint_view(self, ref: Ref) -> CheckpointView:
        """For plan_checkpoint."""
        obj = self.cache.all(CHECKPOINT)[ref]
        checkpoint = parse_checkpoint(obj)
        workload = self.cache.get(WORKLOAD, Ref(ref.namespace, checkpoint.workload))
        return CheckpointView(
            checkpoint=checkpoint,
            # A wish carries the label as well once it was given to a node, even if the phase could not follow.
            made_by_agent=checkpoint.is_imported
            or (checkpoint.reason is not Reason.ON_DEMAND and LABEL_NODE in section(obj, "metadata", "labels")),
            workload=parse_workload(workload) if workload is not None else None,
            workers=self.workers(),
            locations_known=frozenset(
                name for name in checkpoint.copies if self.cache.get(LOCATION, Ref("", name)) is not None
            ),
        )

    def node_view(self, ref: Ref) -> NodeView:
        """For plan_node."""
        obj = self.cache.all(NODE)[ref]
        return NodeView(
            name=ref.name,
            conditions=_conditions(obj),
            lease=self.leases.view(ref.name),
            swarm=self.swarm_node(obj),
            swarm_known=self.swarm is not None,
        )

    def location_view(self, ref: Ref) -> LocationView:
        """For plan_location."""
        obj = self.cache.all(LOCATION)[ref]
        reports, silent = [], []
        for node in self.cache.all(NODE).values():
            if not is_ready(_conditions(node)):
                continue
            said = section(node, "status").get("locations") or ()
            mine = next((item for item in said if item["name"] == ref.name), None)
            if mine is None:
                silent.append(node["metadata"]["name"])
            else:
                keys = mine.get("encryption") or {}
                reports.append(
                    Report(
                        node["metadata"]["name"],
                        mine["reachable"],
                        mine.get("id") or "",
                        mine.get("message") or "",
                        key_id=keys.get("keyID") or "",
                        left=keys.get("left"),
                        key_message=keys.get("message") or "",
                    )
                )
        versions, stored_bytes = self.cache.totals(ref.name)
        spec = section(obj, "spec")
        return LocationView(
            name=ref.name,
            generation=_generation(obj),
            type="s3" if "s3" in spec else "filesystem",
            where=where_of(spec),
            id=section(obj, "status").get("id") or "",
            reports=tuple(sorted(reports, key=lambda report: report.node)),
            silent=tuple(sorted(silent)),
            versions=versions,
            stored_bytes=stored_bytes,
            encrypted="encryption" in section(obj, "spec"),
            importing=ImportState(
                section(obj, "spec", "import"), section(obj, "status", "import"), section(obj, "status", "imported")
            ),
            workers=self.workers(),
        )

    def containers(self) -> Containers:
        """The plain containers that the nodes report."""
        if self._containers is None:
            self._containers = Containers.of(self.cache.all(NODE).values())
        return self._containers

    def node_facts(self) -> tuple[tuple[NodeFacts, ...], Mapping[Ref, Mapping[str, PlacementFailure]]]:
        """All nodes as placement needs them; and by workload what nodes say of having been given it in vain."""
        if self._node_facts is None:
            nodes = self.cache.all(NODE).values()
            failures: dict[Ref, dict[str, PlacementFailure]] = {}
            for obj in nodes:
                for failure in parse_placement_failures(obj):
                    failures.setdefault(failure.workload, {})[obj["metadata"]["name"]] = failure
            self._node_facts = tuple(map(self._facts_of, nodes)), failures
        return self._node_facts

    def _facts_of(self, obj: Obj) -> NodeFacts:
        name, version = obj["metadata"]["name"], str(obj["metadata"].get("resourceVersion"))
        known = self._parsed_nodes.get(name)
        if known is None or known[0] != version:
            known = self._parsed_nodes[name] = (version, parse_node(obj))
        return known[1]

    def workers(self) -> tuple[Worker, ...]:
        """The nodes as far as work can be given to them."""
        if self._workers is None:
            nodes = self.cache.all(NODE)
            self._workers = tuple(_worker(obj) for obj in nodes.values())
            ids = {ref.name: section(obj, "status").get("swarmNodeID") for ref, obj in nodes.items()}
            self._node_names = {node_id: name for name, node_id in ids.items() if node_id}
        return self._workers

    def _moving_to(self, workload: Ref) -> str:
        for obj in self.cache.migrations_of(workload):
            migration = parse_migration(obj)
            if migration.brings_versions:
                return migration.to
        return ""

    def _failover(
        self, obj: Obj, workload: Workload, policy: Policy | None, checkpoints: tuple[Checkpoint, ...]
    ) -> FailoverView:
        nodes, failures = self.node_facts()
        mine = failures.get(workload.ref, {})
        uid = str(obj["metadata"].get("uid") or "")
        needs = needs_of(workload, uid, parse_traits(obj), policy, checkpoints, nodes, failed=mine)
        return FailoverView(needs, nodes, self.containers().lost_nodes, mine)

    def _standbys(self, workload: Ref, service: Service | None) -> tuple[StandbyNode, ...]:
        return tuple(self._standby(obj, str(workload), service) for obj in self.cache.all(NODE).values())

    def _standby(self, obj: Obj, workload: str, service: Service | None) -> StandbyNode:
        status, worker = section(obj, "status"), _worker(obj)
        in_swarm = self.swarm_node(obj)
        # While the Swarm cannot be asked, nothing speaks against a node that is ready.
        fits = in_swarm is None or (
            in_swarm.availability == "active" and (service is None or may_run_on(service.constraints, in_swarm))
        )
        versions = section(obj, "status", "versions")
        said: Mapping[str, Any] = next(
            (item for item in status.get("standbys") or () if item["workload"] == workload), {}
        )
        return StandbyNode(
            name=worker.name,
            able=worker.ready and fits,
            locations=worker.locations,
            host=(versions.get("kernel", ""), versions.get("criu", "")),
            ready_version=said.get("version"),
        )

    def _location_conditions(self, name: str) -> tuple[Mapping[str, Any], ...] | None:
        obj = self.cache.get(LOCATION, Ref("", name))
        return None if obj is None else _conditions(obj)

    def _policy(self, ref: Ref) -> Policy | str:
        """The policy, or what is wrong with it."""
        obj = self.cache.get(POLICY, ref)
        if obj is None:
            self._policies.pop(ref, None)
            return "there is no such policy"
        version = str(obj["metadata"].get("resourceVersion"))
        known = self._policies.get(ref)
        if known is not None and known[0] == version:
            return known[1]
        try:
            parsed: Policy | str = parse_policy(obj)
        except InvalidObject as error:
            parsed = str(error)
        self._policies[ref] = (version, parsed)
        return parsed

    def _order_stands(self, workload: Workload) -> bool:
        """Whether the Restore is there that its order is for."""
        if workload.order is None:
            return True
        found = self.cache.get(RESTORE, Ref(workload.ref.namespace, workload.order.restore))
        return found is not None and found["metadata"].get("uid") == workload.order.id

    def _has(self, policy: Policy, service: Service) -> bool:
        services = self.swarm.services if self.swarm else None
        if services is not self._winners_among:
            self._winners.clear()
            self._winners_among = services
        if service.id not in self._winners:
            winner = winner_of(service, self.policies())
            self._winners[service.id] = winner.ref if winner else None
        return self._winners[service.id] == policy.ref

    def _node_name(self, node_id: str) -> str:
        self.workers()
        if node_id in self._node_names:
            return self._node_names[node_id]
        node = self.swarm.nodes.get(node_id) if self.swarm else None
        return node.hostname if node else ""

    def swarm_node(self, obj: Obj) -> SwarmNode | None:
        """What the Swarm says of the node that a Node object is about."""
        if self.swarm is None:
            return None
        node_id, name = section(obj, "status").get("swarmNodeID"), obj["metadata"]["name"]
        if node_id:
            return self.swarm.nodes.get(node_id)
        return next((node for node in self.swarm.nodes.values() if node.hostname == name), None)

    def _node_lost(self, workload: Workload) -> bool:
        node = self.cache.get(NODE, Ref("", workload.claim.node)) if workload.claim.node else None
        return node is not None and is_lost(_conditions(node))


class _Specs(Mapping[Ref, WorkloadSpec]):
    """The specs of all workloads, read when asked for: a policy needs few of many."""

    def __init__(self, cache: Cache) -> None:
        self._objects = cache.all(WORKLOAD)

    def __getitem__(self, ref: Ref) -> WorkloadSpec:
        return spec_of(self._objects[ref])

    def __iter__(self) -> Iterator[Ref]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)


def spec_of(obj: Obj) -> WorkloadSpec:
    """The spec of a Workload object."""
    spec = section(obj, "spec")
    return WorkloadSpec(
        policy=spec["policy"],
        service_id=section(spec, "service").get("id", ""),
        service_name=section(spec, "service").get("name", ""),
        slot=spec.get("slot"),
        node_id=spec.get("nodeID"),
        force_update=spec.get("forceUpdate", 0),
        container=section(spec, "container").get("name"),
    )


def newest_version_ages(cache: Cache, now: datetime) -> list[tuple[str, str, float]]:
    """Namespace, name and age in seconds of the newest version of each workload that has one and is not stopped."""
    ages = []
    for obj in list(cache.all(WORKLOAD).values()):
        status = section(obj, "status")
        taken_at = optional_time(section(status, "newestVersion").get("takenAt"))
        if taken_at is not None and status.get("phase") != Phase.STOPPED:
            ref = ref_of(obj)
            ages.append((ref.namespace, ref.name, (now - taken_at).total_seconds()))
    return ages


def _worker(obj: Obj) -> Worker:
    said = section(obj, "status").get("locations") or ()
    reached = frozenset(item["name"] for item in said if item["reachable"])
    return Worker(obj["metadata"]["name"], is_ready(_conditions(obj)), reached)


def _conditions(obj: Obj) -> tuple[Mapping[str, Any], ...]:
    return tuple(section(obj, "status").get("conditions") or ())


def _failure(obj: Obj) -> str:
    return section(obj, "status", "lastFailure").get("message") or ""


def _generation(obj: Obj) -> int:
    return int(obj["metadata"].get("generation") or 1)
