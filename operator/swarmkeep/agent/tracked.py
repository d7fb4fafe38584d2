"""The protected containers of this node: what the agent knows of each, over its own death."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from swarmkeep.agent.journal import Journal
from swarmkeep.model.crashes import Crashes, crashes_wire, parse_crashes
from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import format_time, optional_time, parse_time
from swarmkeep.model.workload import Claim, End, Phase
from swarmkeep.plan.ends import end_status


@dataclass(slots=True)
class Tracked:
    """One protected container. `epoch` 0 means that its workload is not claimed yet."""

    ref: Ref
    policy: str
    """Name of the policy; its namespace is the workload's."""
    container_id: str
    task_id: str
    spec_hash: str
    """Fixed when the container came up: a later forced update must not change what its versions claim to be."""
    boot_id: str
    started_at: datetime
    epoch: int = 0
    phase: Phase = Phase.RUNNING
    number: int = 0
    """The highest version number that was given out; 0 when not known yet."""
    number_before: int = 0
    """The highest version number when it came up; those above are its own."""
    clean_from: int = 0
    """The last version that was stored without leaning on others, since one of them was damaged; 0 for none."""
    newest: dict[str, Any] | None = None
    """status.newestVersion of the workload."""
    replicas: list[dict[str, Any]] = field(default_factory=list)
    """status.replicas of the workload."""
    last_try_at: datetime | None = None
    failure: dict[str, Any] | None = None
    """status.lastFailure of the workload."""
    start: dict[str, Any] | None = None
    """status.lastStart of the workload."""
    attempt: dict[str, Any] | None = None
    """What status.lastStart will be if the start that is under way succeeds; None when its outcome is known."""
    end_before: dict[str, Any] | None = None
    """status.lastEnd of the task before: its own as well, if it never comes up."""
    end: dict[str, Any] | None = None
    """status.lastEnd of the workload, once the container has ended."""
    failed_restores: dict[str, int] = field(default_factory=dict)
    crashes: Crashes | None = None
    """Of the restored processes before it, and of itself once it has ended; None when there is no row of them."""
    line: list[dict[str, int]] = field(default_factory=list)
    """status.leftBehind of the workload since it came up."""
    ending: str = ""
    """The order for which this node ends it; empty when it does not."""
    stop_requested: bool = False
    """Docker asked it to stop: its end is no crash."""
    finalizing: bool = False
    """Its final version is not in storage yet: the claim must not be given back before it is."""
    plain: bool = False
    """It is of no Swarm task: it may be started again itself, and nobody but SwarmKeep removes a copy of it."""
    final_version: int | None = None
    owes_hooks: bool = False
    """The hooks that come after a version have to be run in it."""

    @property
    def order(self) -> str:
        """The order that its start has answered; empty when there was none."""
        return str((self.start or {}).get("order") or "")

    @property
    def failures(self) -> int:
        """Versions in a row that could not be taken."""
        return int(self.failure["consecutive"]) if self.failure else 0

    @property
    def schedule_base(self) -> datetime:
        """The instant from which the next version is counted."""
        moments = [self.started_at]
        if self.last_try_at:
            moments.append(self.last_try_at)
        return max(moments)

    def status(self, node: str) -> dict[str, Any]:
        """The part of the workload's status that this node writes, as a merge patch."""
        ended = self.end is not None
        return {
            "phase": str(Phase.STOPPED if ended else self.phase),
            "claim": {"node": "" if ended else node, "epoch": self.epoch},
            "container": None
            if ended
            else {"id": self.container_id, "taskID": self.task_id, "startedAt": format_time(self.started_at)},
            "specHash": self.spec_hash,
            "newestVersion": self.newest,
            "replicas": self.replicas or None,
            "lastFailure": self.failure,
            "failedRestores": self.failed_restores or None,
            "crashes": crashes_wire(self.crashes) if self.crashes else None,
            **({"lastStart": self.start, "leftBehind": self.line or None} if self.start else {}),
            **({"lastEnd": self.end} if self.end else {}),
        }

    def claim(self, node: str) -> Claim:
        """The claim under which this node runs it."""
        return Claim(node, self.epoch)


class TrackedContainers:
    """All of them by workload; each change is in the journal before anybody acts on it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._by_ref: dict[Ref, Tracked] = {}
        self.coming_up: dict[Ref, str] = {}
        """The container of each workload whose start is under way: nobody else may give up its claim meanwhile."""
        self.taking: dict[Ref, Tracked] = {}
        """Of which a version is being taken or stored: that goes on when they have ended and are dropped here."""
        self.starting: set[str] = set()
        """Containers that this agent has told Docker to start, until it is known how that went."""
        for _, record in journal.items():
            tracked = _from_record(record)
            self._by_ref[tracked.ref] = tracked

    def __iter__(self) -> Iterator[Tracked]:
        return iter(list(self._by_ref.values()))

    def newest_versions(self) -> list[tuple[tuple[str, ...], float]]:
        """Namespace, name and the instant (seconds since the epoch) of the newest version, of all that run here."""
        return [
            ((item.ref.namespace, item.ref.name), parse_time(item.newest["takenAt"]).timestamp())
            for item in self
            if item.newest is not None and item.end is None
        ]

    def replica_times(self) -> list[tuple[tuple[str, ...], float]]:
        """The same with the location for what is in each further one; 0 where that has none."""
        return [
            ((item.ref.namespace, item.ref.name, replica["location"]), _seconds(replica.get("takenAt")))
            for item in self
            if item.end is None
            for replica in item.replicas
        ]

    def get(self, ref: Ref) -> Tracked | None:
        """The container of a workload."""
        return self._by_ref.get(ref)

    def by_container(self, container_id: str) -> Tracked | None:
        """The record of a container."""
        return next((item for item in self._by_ref.values() if item.container_id == container_id), None)

    def settle_earlier_boots(self, boot_id: str, now: datetime) -> None:
        """Containers of an earlier boot of this node ended with it, however long Docker takes to say so."""
        for tracked in self:
            if tracked.boot_id != boot_id and tracked.end is None:
                tracked.end = end_status(End.NODE_LOSS, now)
                self.save(tracked)

    def is_coming_up(self, tracked: Tracked) -> bool:
        """Whether its start is under way, so that it may have no process yet."""
        return self.coming_up.get(tracked.ref) == tracked.container_id

    def is_unsettled(self, tracked: Tracked) -> bool:
        """Whether its start is under way, or came up and Docker may yet fail to take it over."""
        return self.is_coming_up(tracked) or tracked.container_id in self.starting

    def save(self, tracked: Tracked) -> None:
        """Remembers it as it is now, in place of any other container of the same workload."""
        self._journal.write(str(tracked.ref), _to_record(tracked))
        self._by_ref[tracked.ref] = tracked

    def drop(self, tracked: Tracked) -> None:
        """Forgets it, unless another container has taken its place."""
        if self._by_ref.get(tracked.ref) is tracked:
            self._journal.remove(str(tracked.ref))
            del self._by_ref[tracked.ref]


def _seconds(moment: str | None) -> float:
    return parse_time(moment).timestamp() if moment else 0.0


def _to_record(tracked: Tracked) -> dict[str, Any]:
    record = asdict(tracked)
    record["ref"] = str(tracked.ref)
    record["phase"] = str(tracked.phase)
    record["started_at"] = format_time(tracked.started_at)
    record["last_try_at"] = format_time(tracked.last_try_at) if tracked.last_try_at else None
    record["crashes"] = crashes_wire(tracked.crashes) if tracked.crashes else None
    return record


def _from_record(record: dict[str, Any]) -> Tracked:
    return Tracked(
        **record
        | {
            "ref": Ref.parse(record["ref"]),
            "phase": Phase(record["phase"]),
            "started_at": parse_time(record["started_at"]),
            "last_try_at": optional_time(record["last_try_at"]),
            "crashes": parse_crashes(record.get("crashes") or {}),
        }
    )
