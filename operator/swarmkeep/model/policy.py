"""CheckpointPolicy: what a user wants kept alive, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from swarmkeep.errors import InvalidObject
from swarmkeep.model.ident import Ref
from swarmkeep.model.quantity import format_duration, parse_duration
from swarmkeep.model.wire import Object, optional_time, section

MIN_EVERY = timedelta(seconds=1)
MAX_HOOK_TIMEOUT = timedelta(minutes=5)
COMPOSE_PROJECT = "com.docker.compose.project"
"""Label that Compose puts on the containers of a project."""


class RestoreOn(StrEnum):
    """Ends after which a new task is restored."""

    NODE_LOSS = "NodeLoss"
    CRASH = "Crash"
    RESCHEDULE = "Reschedule"


class Otherwise(StrEnum):
    """What a task does that should have been restored and cannot be."""

    FRESH = "Fresh"
    HOLD = "Hold"


class Fencing(StrEnum):
    """What a node does with its workloads when it loses the control plane."""

    STRICT = "Strict"
    NONE = "None"


class Tcp(StrEnum):
    """What happens to established TCP connections."""

    CLOSE = "Close"
    ESTABLISHED = "Established"
    """They go on, where the container keeps its address and nothing has happened since the version was taken."""
    REFUSE = "Refuse"


class Strategy(StrEnum):
    """Which of several nodes that can run a plain container does."""

    SPREAD = "Spread"
    """The one with most room."""
    BIN_PACK = "BinPack"
    """The fullest that still has room."""
    RANDOM = "Random"


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """Where a plain container may go on when its node is lost."""

    constraints: tuple[str, ...] = ()
    """What must hold of the node, as Swarm writes it: `node.labels.zone==a`."""
    strategy: Strategy = Strategy.SPREAD


class OnFailure(StrEnum):
    """What the failure of a hook means for the version."""

    FAIL = "Fail"
    CONTINUE = "Continue"


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that is run in the container around a version."""

    command: tuple[str, ...]
    """The program and its arguments; no shell is put between."""
    timeout: timedelta = timedelta(seconds=5)
    on_failure: OnFailure = OnFailure.FAIL


@dataclass(frozen=True, slots=True)
class Hooks:
    """All of them, in the order in which they are run."""

    before: tuple[Hook, ...] = ()
    """Before the container stands still."""
    after: tuple[Hook, ...] = ()
    """When it goes on, whatever became of the version."""

    def __bool__(self) -> bool:
        return bool(self.before or self.after)


@dataclass(frozen=True, slots=True)
class Selector:
    """Which services or plain containers a policy is for; exactly one field is set."""

    service: str | None = None
    stack: str | None = None
    match_labels: Mapping[str, str] | None = None
    container: str | None = None
    """Name of a plain container, on whichever node."""
    compose_project: str | None = None
    """All containers of a Compose project."""
    container_labels: Mapping[str, str] | None = None
    """Labels that a plain container must all have."""

    @property
    def is_for_containers(self) -> bool:
        """Whether it means plain containers. It never means a task of a service then, and a service's never those."""
        return self.container is not None or self.wanted_labels is not None

    @property
    def wanted_labels(self) -> Mapping[str, str] | None:
        """The labels that a plain container must have; None when it is not chosen by labels."""
        if self.compose_project is not None:
            return {COMPOSE_PROJECT: self.compose_project}
        return self.container_labels

    def __str__(self) -> str:
        for kind, name in (
            ("service", self.service),
            ("stack", self.stack),
            ("container", self.container),
            ("compose", self.compose_project),
        ):
            if name is not None:
                return f"{kind}/{name}"
        kind, labels = "labels", self.match_labels
        if self.container_labels is not None:
            kind, labels = "containers", self.container_labels
        return f"{kind}/" + ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))


@dataclass(frozen=True, slots=True)
class RestoreRules:
    """When and how a workload is restored."""

    after: frozenset[RestoreOn] = frozenset(RestoreOn)
    lazy: bool = True
    max_age: timedelta | None = None
    """Older versions do not count; None means any age."""
    attempts: int = 3
    """How often one version is tried before the next older one."""
    otherwise: Otherwise = Otherwise.FRESH
    hold_limit: timedelta = timedelta(seconds=60)
    warm_standby: int = 0
    """How many other nodes keep the newest version ready: 0 or 1."""


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """Which versions stay: those that any keep rule keeps and that are younger than `max_age`."""

    keep_last: int = 5
    """So many of the newest; at least 1."""
    keep_hourly: int = 0
    """The newest of each of so many hours that have one, counted back from the newest; all periods are UTC's."""
    keep_daily: int = 0
    keep_weekly: int = 0
    """Weeks begin on Monday (ISO 8601)."""
    max_age: timedelta | None = None
    """No rule keeps a version that is as old as this; None means that age does not matter."""

    def __str__(self) -> str:
        counts = (
            ("keepLast", self.keep_last),
            ("keepHourly", self.keep_hourly),
            ("keepDaily", self.keep_daily),
            ("keepWeekly", self.keep_weekly),
        )
        words = [f"{name} {count}" for name, count in counts if count]
        if self.max_age is not None:
            words.append(f"maxAge {format_duration(self.max_age)}")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Policy:
    """A CheckpointPolicy as decisions need it."""

    ref: Ref
    generation: int
    created_at: datetime | None
    selector: Selector
    every: timedelta
    jitter: float
    """Share of `every` by which a version may move, 0 to 0.99."""
    suspend: bool
    locations: tuple[str, ...]
    """Names of the StorageLocations: versions are written to the first, and copied from there to the others."""
    retention: RetentionRules
    on_stop: bool
    tcp: Tcp
    max_freeze: timedelta
    restore: RestoreRules
    fencing: Fencing
    restore_every: int = 0
    """Every so many versions one is test-restored; 0 for none."""
    services: tuple[str, ...] = ()
    """Names of the services that the operator found to match."""
    placement: PlacementRules = PlacementRules()
    volumes: tuple[str, ...] = ()
    """Volumes by name and folders of the node by path that are taken along; see plan.volumes."""
    hooks: Hooks = Hooks()

    @property
    def location(self) -> str:
        """The StorageLocation that makes a version Stored."""
        return self.locations[0]


def parse_policy(obj: Object) -> Policy:
    """Reads a CheckpointPolicy that passed schema validation. Raises InvalidObject for what a schema cannot say."""
    meta, spec = section(obj, "metadata"), section(obj, "spec")
    ref = Ref(meta.get("namespace", "default"), meta["name"])
    schedule, checkpoint, restore = section(spec, "schedule"), section(spec, "checkpoint"), section(spec, "restore")
    placement = section(spec, "placement")
    every = parse_duration(schedule["every"])
    if every < MIN_EVERY:
        raise InvalidObject(f"checkpointpolicy {ref}: spec.schedule.every is {schedule['every']}, the shortest is 1s")
    locations = tuple(spec["storage"])
    if len(set(locations)) < len(locations):
        raise InvalidObject(f"checkpointpolicy {ref}: spec.storage names a location twice: {', '.join(locations)}")
    selector = section(spec, "selector")
    chosen = Selector(
        service=selector.get("service"),
        stack=selector.get("stack"),
        match_labels=selector.get("matchLabels"),
        container=selector.get("container"),
        compose_project=selector.get("composeProject"),
        container_labels=selector.get("containerLabels"),
    )
    tcp = Tcp(checkpoint.get("tcp", "Close"))
    if tcp is Tcp.ESTABLISHED and not chosen.is_for_containers:
        raise InvalidObject(
            f"checkpointpolicy {ref}: spec.checkpoint.tcp is Established, but every task of a service gets another "
            "address, and no connection goes on from another one: use Close, and let clients connect again"
        )
    return Policy(
        ref=ref,
        generation=meta.get("generation", 1),
        created_at=optional_time(meta.get("creationTimestamp")),
        selector=chosen,
        every=every,
        jitter=int(schedule.get("jitter", "10%").rstrip("%")) / 100,
        suspend=schedule.get("suspend", False),
        locations=locations,
        retention=_retention(section(spec, "retention"), ref),
        on_stop=checkpoint.get("onStop", True),
        tcp=tcp,
        max_freeze=parse_duration(checkpoint.get("maxFreeze", "5s")),
        restore=RestoreRules(
            after=frozenset(map(RestoreOn, restore.get("after", list(RestoreOn)))),
            lazy=restore.get("pages", "Lazy") == "Lazy",
            max_age=parse_duration(restore["maxAge"]) if "maxAge" in restore else None,
            attempts=restore.get("attempts", 3),
            otherwise=Otherwise(restore.get("otherwise", "Fresh")),
            hold_limit=parse_duration(restore.get("holdLimit", "60s")),
            warm_standby=restore.get("warmStandby", 0),
        ),
        fencing=Fencing(spec.get("fencing", "Strict")),
        restore_every=section(checkpoint, "verify").get("restoreEvery", 0),
        services=tuple(section(obj, "status").get("services") or ()),
        placement=PlacementRules(
            tuple(placement.get("constraints") or ()), Strategy(placement.get("strategy", "Spread"))
        ),
        volumes=_volumes(checkpoint, ref),
        hooks=_hooks(section(checkpoint, "hooks"), ref),
    )


def _volumes(raw: Mapping[str, Any], ref: Ref) -> tuple[str, ...]:
    volumes = tuple(raw.get("volumes") or ())
    for wish in volumes:
        if wish.startswith("/") and {"", ".", ".."} & set(wish[1:].split("/")):
            raise InvalidObject(
                f"checkpointpolicy {ref}: spec.checkpoint.volumes has {wish}: write the folder's path in its shortest "
                "form, and not the whole node's"
            )
    return volumes


def _hooks(raw: Mapping[str, Any], ref: Ref) -> Hooks:
    def read(when: str) -> tuple[Hook, ...]:
        hooks = []
        for number, item in enumerate(raw.get(when) or ()):
            timeout = parse_duration(item.get("timeout", "5s"))
            if not timedelta(0) < timeout <= MAX_HOOK_TIMEOUT:
                raise InvalidObject(
                    f"checkpointpolicy {ref}: spec.checkpoint.hooks.{when}[{number}].timeout is {item['timeout']}: it "
                    "must be more than nothing and at most 5m"
                )
            hooks.append(Hook(tuple(item["exec"]), timeout, OnFailure(item.get("onFailure", "Fail"))))
        return tuple(hooks)

    return Hooks(read("before"), read("after"))


def _retention(raw: Mapping[str, Any], ref: Ref) -> RetentionRules:
    max_age = parse_duration(raw["maxAge"]) if "maxAge" in raw else None
    if max_age is not None and not max_age:
        raise InvalidObject(
            f"checkpointpolicy {ref}: spec.retention.maxAge is {raw['maxAge']}, which no version is younger than: "
            "leave it out if age does not matter"
        )
    return RetentionRules(
        keep_last=raw.get("keepLast", 5),
        keep_hourly=raw.get("keepHourly", 0),
        keep_daily=raw.get("keepDaily", 0),
        keep_weekly=raw.get("keepWeekly", 0),
        max_age=max_age,
    )
