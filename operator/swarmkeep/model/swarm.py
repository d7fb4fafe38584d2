"""What Docker's Swarm says: its nodes, services and tasks. Made by swarmkeep.swarm, read by decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

STACK_LABEL = "com.docker.stack.namespace"
"""Docker puts it on the services and containers of a stack."""

LIVE_STATES = frozenset(
    {"new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"},
)
"""States of a task that runs or may still come to run; the order of the Engine API's TaskState."""


class Mode(StrEnum):
    """How many tasks a service has, and where."""

    REPLICATED = "Replicated"
    GLOBAL = "Global"
    JOB = "Job"
    """Runs to its end and is then done: there is nothing to keep alive."""


@dataclass(frozen=True, slots=True)
class SwarmNode:
    """A node as the managers see it."""

    id: str
    hostname: str
    ready: bool
    """Its dispatcher session lives; False is what `docker node ls` calls Down, Unknown or Disconnected."""
    availability: str
    """active, pause or drain."""
    manager: bool
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    """A service as it is specified now."""

    id: str
    name: str
    mode: Mode
    replicas: int
    """0 for a global service: it has a task on every node that fits."""
    image: str
    force_update: int
    created_at: datetime | None
    labels: Mapping[str, str] = field(default_factory=dict)
    container_labels: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    """Where its tasks may be placed, for example `node.role==worker`."""
    restarts: bool = True
    """Whether another task is made when one has failed."""
    version: int = 0
    """Grows with every change of the service; an update names the one that it is meant for."""
    update_state: str = ""
    """Of the last update: updating, paused, completed, rollback_started, ...; empty when there is none to speak of."""
    start_first: bool = False
    """An update starts a new task before it stops the old one."""
    spreads: bool = False
    """It has placement preferences, which come before everything else when a node is chosen."""
    most_per_node: int = 0
    """How many of its tasks a node may have; 0 for any number."""

    @property
    def stack(self) -> str | None:
        """The stack, as the containers of its tasks will say."""
        return self.container_labels.get(STACK_LABEL)


@dataclass(frozen=True, slots=True)
class Task:
    """One try of the Swarm to run one container of a service."""

    id: str
    service_id: str
    slot: int | None
    """From 1; None for the task of a global service, which is told apart by its node."""
    node_id: str
    """Empty while it is not placed."""
    state: str
    """What it does: one of the Engine API's TaskState words, in lower case."""
    desired_state: str
    container_id: str
    message: str
    """The error, or else what Swarm says about the state."""
    created_at: datetime | None
    state_since: datetime | None
    """When it came to `state`."""

    @property
    def wanted(self) -> bool:
        """Whether Swarm wants it to run now or as soon as it may."""
        return self.desired_state in LIVE_STATES


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of the Swarm that matters to us, read within one look."""

    nodes: Mapping[str, SwarmNode] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    tasks: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    """By service. A service that is missing here was not asked about: that says nothing of its tasks."""

    @classmethod
    def of(
        cls, nodes: Iterable[SwarmNode], services: Iterable[Service], tasks: Iterable[Task], tasks_of: Iterable[str]
    ) -> Snapshot:
        """Indexes what one look brought; `tasks_of` are the ids of the services whose tasks were asked for."""
        by_service: dict[str, list[Task]] = {service_id: [] for service_id in tasks_of}
        for task in tasks:
            by_service.setdefault(task.service_id, []).append(task)
        return cls(
            {node.id: node for node in nodes},
            {service.id: service for service in services},
            {service_id: tuple(sorted(found, key=lambda task: task.id)) for service_id, found in by_service.items()},
        )
