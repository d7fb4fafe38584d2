"""Workload: one thing with one state, and who may run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from swarmkeep.model.crashes import Crashes, parse_crashes
from swarmkeep.model.ident import Ref
from swarmkeep.model.line import Line, parse_line
from swarmkeep.model.wire import Object, optional_time, section


class Phase(StrEnum):
    """What a workload is doing."""

    PENDING = "Pending"
    RUNNING = "Running"
    RESTORING = "Restoring"
    HELD = "Held"
    FENCED = "Fenced"
    LOST = "Lost"
    STOPPED = "Stopped"


class End(StrEnum):
    """How a task ended."""

    STOPPED = "Stopped"
    """Docker or Swarm stopped it."""
    EXITED = "Exited"
    """It ended by itself with exit code 0."""
    CRASHED = "Crashed"
    OUT_OF_MEMORY = "OutOfMemory"
    NODE_LOSS = "NodeLoss"
    KILLED = "Killed"
    """SwarmKeep ended it: another node had taken the claim."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a workload; `node` is empty when nobody holds it. `epoch` only grows."""

    node: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class NewestVersion:
    """The newest finished version, as the workload's status tells it."""

    number: int
    taken_at: datetime
    spec_hash: str
    reason: str = "Schedule"


@dataclass(frozen=True, slots=True)
class Replica:
    """How far one further location is, as the node that runs the workload tells it."""

    location: str
    version: int | None
    """Number of the newest version there; None when there is none."""
    taken_at: datetime | None
    message: str
    """Why copying fails; empty while it does not."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a task came up."""

    restored: bool
    reason: str
    task_id: str
    version: int | None
    at: datetime | None
    wrong_in: tuple[str, ...] = ()
    """Locations where wrong bytes of that version were met on the way."""
    node: str = ""
    seconds: float | None = None
    message: str = ""
    order: str = ""
    """The order that it answered; empty when there was none."""
    obeyed: bool = False
    """Whether it did what that order says."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the next start has to do: the operator writes it for a Restore, the start that does it takes it away."""

    id: str
    """The uid of the Restore."""
    restore: str
    """Its name."""
    version: int | None
    """None for a start from nothing."""
    ends_task: bool
    """Whether the task that runs has to be ended for it; else it is for whenever one starts."""
    keep: bool
    """Whether a last version is taken before the task is ended."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node did not end the task as an order says: nothing has happened to it."""

    order: str
    message: str


@dataclass(frozen=True, slots=True)
class LastEnd:
    """How the task before ended."""

    how: End
    at: datetime | None
    final_version: int | None = None


@dataclass(frozen=True, slots=True)
class SwarmView:
    """What the Swarm says of the workload's task."""

    task_id: str
    node: str
    state: str
    desired_state: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """The node that is to create and start a plain container."""

    node: str
    reason: str
    at: datetime | None
    epoch: int
    """Of the claim when it was decided: once anybody has taken the claim since, it is carried out or outdated."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A Workload as decisions need it."""

    ref: Ref
    resource_version: str
    policy: str
    service_id: str
    """Empty for a plain container, as is `service_name`."""
    service_name: str
    slot: int | None
    force_update: int
    phase: Phase
    claim: Claim
    container_id: str | None
    spec_hash: str | None
    newest: NewestVersion | None
    last_start: Start | None
    last_end: LastEnd | None
    consecutive_failures: int
    """Versions in a row that could not be taken."""
    failed_restores: Mapping[int, int] = field(default_factory=dict)
    crashes: Crashes | None = None
    """Restored processes that crashed in a row; None while there is no such row."""
    swarm: SwarmView | None = None
    scrubbed_at: datetime | None = None
    """When one of its versions was last given out to be verified unasked."""
    standby: str = ""
    """The node that keeps its newest version ready; empty when none does."""
    container_name: str | None = None
    """Docker's name of the plain container; None for a task of a service."""
    placement: Assignment | None = None
    """Where a plain container was last sent; None when it never was."""
    order: Order | None = None
    refusal: Refusal | None = None
    line: Line = field(default_factory=Line)
    past_starts: tuple[Start, ...] = ()
    """How its last tasks came up, the newest last."""

    def is_placed_elsewhere(self, node: str) -> bool:
        """Whether another node is to bring it up, and nobody has the claim for that yet."""
        placement = self.placement
        return placement is not None and placement.epoch == self.claim.epoch and placement.node != node

    @property
    def source(self) -> str:
        """What it is made for, in words: `service shop_redis` or `container web`."""
        return f"service {self.service_name}" if self.container_name is None else f"container {self.container_name}"


def parse_workload(obj: Object) -> Workload:
    """Reads a Workload that passed schema validation."""
    meta, spec, status = section(obj, "metadata"), section(obj, "spec"), section(obj, "status")
    service, claim = section(spec, "service"), section(status, "claim")
    return Workload(
        ref=Ref(meta["namespace"], meta["name"]),
        resource_version=meta.get("resourceVersion", ""),
        policy=spec["policy"],
        service_id=service.get("id", ""),
        service_name=service.get("name", ""),
        slot=spec.get("slot"),
        force_update=spec.get("forceUpdate", 0),
        phase=Phase(status.get("phase", "Pending")),
        claim=Claim(claim.get("node") or "", claim.get("epoch", 0)),
        container_id=section(status, "container").get("id"),
        spec_hash=status.get("specHash"),
        newest=_newest(section(status, "newestVersion")),
        last_start=_start(section(status, "lastStart")),
        last_end=_end(section(status, "lastEnd")),
        consecutive_failures=section(status, "lastFailure").get("consecutive", 0),
        failed_restores={int(number): count for number, count in section(status, "failedRestores").items()},
        crashes=parse_crashes(section(status, "crashes")),
        swarm=_swarm(section(status, "swarm")),
        scrubbed_at=optional_time(status.get("scrubbedAt")),
        standby=section(status, "standby").get("node") or "",
        container_name=section(spec, "container").get("name"),
        placement=_placement(section(status, "placement")),
        order=_order(section(status, "order")),
        refusal=_refusal(section(status, "orderRefused")),
        line=parse_line(status.get("leftBehind")),
        past_starts=tuple(start for raw in status.get("starts") or () if (start := _start(raw)) is not None),
    )


def parse_replicas(obj: Object) -> tuple[Replica, ...]:
    """How far each further location is."""
    return tuple(
        Replica(raw["location"], raw.get("version"), optional_time(raw.get("takenAt")), raw.get("message") or "")
        for raw in section(obj, "status").get("replicas") or ()
    )


def _newest(raw: Mapping[str, Any]) -> NewestVersion | None:
    taken_at = optional_time(raw.get("takenAt"))
    if "number" not in raw or taken_at is None:
        return None
    return NewestVersion(raw["number"], taken_at, raw.get("specHash", ""), raw.get("reason", "Schedule"))


def _start(raw: Mapping[str, Any]) -> Start | None:
    if "how" not in raw:
        return None
    return Start(
        restored=raw["how"] == "Restored",
        reason=raw.get("reason", ""),
        task_id=raw.get("taskID", ""),
        version=raw.get("version"),
        at=optional_time(raw.get("at")),
        wrong_in=tuple(raw.get("wrongIn") or ()),
        node=raw.get("node") or "",
        seconds=raw.get("seconds"),
        message=raw.get("message") or "",
        order=raw.get("order") or "",
        obeyed=raw.get("obeyed") is True,
    )


def _order(raw: Mapping[str, Any]) -> Order | None:
    if "uid" not in raw:
        return None
    return Order(
        id=raw["uid"],
        restore=raw.get("restore") or "",
        version=raw.get("version"),
        ends_task=raw.get("when") == "Now",
        keep=raw.get("keepCurrent", True),
    )


def _refusal(raw: Mapping[str, Any]) -> Refusal | None:
    return Refusal(raw["uid"], raw.get("message") or "") if "uid" in raw else None


def _end(raw: Mapping[str, Any]) -> LastEnd | None:
    return LastEnd(End(raw["how"]), optional_time(raw.get("at")), raw.get("finalVersion")) if "how" in raw else None


def _placement(raw: Mapping[str, Any]) -> Assignment | None:
    if "node" not in raw:
        return None
    return Assignment(raw["node"], raw.get("reason", ""), optional_time(raw.get("at")), raw.get("epoch", 0))


def _swarm(raw: Mapping[str, Any]) -> SwarmView | None:
    if "taskID" not in raw:
        return None
    return SwarmView(raw["taskID"], raw.get("node", ""), raw.get("state", ""), raw.get("desiredState", ""))
