"""CheckpointPolicy: what a user wants kept alive, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from swarmkeep.errors import InvalidObject
from swarmkeep.model.ident import Ref
from swarmkeep.model.quantity import parse_duration
from swarmkeep.model.wire import Object, optional_time, section

MIN_EVERY = timedelta(seconds=1)


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
    REFUSE = "Refuse"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which services a policy is for; exactly one field is set."""

    service: str | None = None
    stack: str | None = None
    match_labels: Mapping[str, str] | None = None

    def __str__(self) -> str:
        if self.service is not None:
            return f"service/{self.service}"
        if self.stack is not None:
            return f"stack/{self.stack}"
        return "labels/" + ",".join(f"{key}={value}" for key, value in sorted((self.match_labels or {}).items()))


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
    location: str
    """Name of the StorageLocation."""
    keep_last: int
    on_stop: bool
    tcp: Tcp
    max_freeze: timedelta
    restore: RestoreRules
    fencing: Fencing
    services: tuple[str, ...] = ()
    """Names of the services that the operator found to match."""


def parse_policy(obj: Object) -> Policy:
    """Reads a CheckpointPolicy that passed schema validation. Raises InvalidObject for what a schema cannot say."""
    meta, spec = section(obj, "metadata"), section(obj, "spec")
    ref = Ref(meta.get("namespace", "default"), meta["name"])
    schedule, checkpoint, restore = section(spec, "schedule"), section(spec, "checkpoint"), section(spec, "restore")
    every = parse_duration(schedule["every"])
    if every < MIN_EVERY:
        raise InvalidObject(f"checkpointpolicy {ref}: spec.schedule.every is {schedule['every']}, the shortest is 1s")
    selector = section(spec, "selector")
    return Policy(
        ref=ref,
        generation=meta.get("generation", 1),
        created_at=optional_time(meta.get("creationTimestamp")),
        selector=Selector(selector.get("service"), selector.get("stack"), selector.get("matchLabels")),
        every=every,
        jitter=int(schedule.get("jitter", "10%").rstrip("%")) / 100,
        suspend=schedule.get("suspend", False),
        location=spec["storage"][0],
        keep_last=section(spec, "retention").get("keepLast", 5),
        on_stop=checkpoint.get("onStop", True),
        tcp=Tcp(checkpoint.get("tcp", "Close")),
        max_freeze=parse_duration(checkpoint.get("maxFreeze", "5s")),
        restore=RestoreRules(
            after=frozenset(map(RestoreOn, restore.get("after", list(RestoreOn)))),
            lazy=restore.get("pages", "Lazy") == "Lazy",
            max_age=parse_duration(restore["maxAge"]) if "maxAge" in restore else None,
            attempts=restore.get("attempts", 3),
            otherwise=Otherwise(restore.get("otherwise", "Fresh")),
            hold_limit=parse_duration(restore.get("holdLimit", "60s")),
        ),
        fencing=Fencing(spec.get("fencing", "Strict")),
        services=tuple(section(obj, "status").get("services") or ()),
    )
