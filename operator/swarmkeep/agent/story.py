"""Tells the story of workloads as Events, in the words that a person would use."""

from __future__ import annotations

import structlog

from swarmkeep.agent.claims import Claims
from swarmkeep.kube.events import EventRecorder
from swarmkeep.model.ident import Ref
from swarmkeep.plan.start import Fresh, Restore

log = structlog.get_logger(__name__)


class Story:
    """Events of one node's workloads; each is logged as well, so that it is not lost with the API."""

    def __init__(self, events: EventRecorder, claims: Claims, node: str) -> None:
        self._events = events
        self._claims = claims
        self._node = node

    async def run(self) -> None:
        """Delivers events for ever."""
        await self._events.run()

    def restored(self, workload: Ref, decision: Restore, seconds: float) -> None:
        """A task went on from a version."""
        self._tell(
            workload,
            "Normal",
            "Restored",
            f"restored on {self._node} after {decision.reason} {decision.message}, in {seconds:.2f} s",
        )

    def cold_start(self, workload: Ref, decision: Fresh) -> None:
        """A task started from nothing."""
        meant = decision.reason in ("NoVersion", "SpecChanged", "Completed", "Forgotten")
        kind = "Normal" if meant else "Warning"
        self._tell(
            workload, kind, "ColdStart", f"started fresh on {self._node} ({decision.reason}): {decision.message}"
        )

    def restore_failed(self, workload: Ref, decision: Restore, error: str) -> None:
        """A version did not come up."""
        self._tell(workload, "Warning", "RestoreFailed", f"version {decision.version} failed on {self._node}: {error}")

    def wrong_bytes(self, workload: Ref, version: int, location: str, error: Exception) -> None:
        """A location had wrong bytes of a version, and another had it whole."""
        self._tell(
            workload, "Warning", "WrongBytes", f"read version {version} elsewhere, it is damaged in {location}: {error}"
        )

    def held(self, workload: Ref, error: Exception) -> None:
        """A task was not allowed to start."""
        self._tell(workload, "Warning", "Held", f"not started on {self._node}: {error}")

    def volume_set_aside(self, workload: Ref, volume: str, path: str) -> None:
        """A volume had content that no version of the workload accounts for."""
        self._tell(
            workload,
            "Warning",
            "VolumeSetAside",
            f"{volume} on {self._node} had other content before the restore: it is kept in {path}, remove it when it "
            "is of no use any more",
        )

    def claimed(self, workload: Ref, epoch: int, from_node: str | None) -> None:
        """The right to run it came to this node."""
        source = f" from {from_node}, whose lease had run out" if from_node else ""
        self._tell(workload, "Normal", "Claimed", f"{self._node} took the claim{source}, epoch {epoch}")

    def fenced(self, workload: Ref, lease_age_s: float) -> None:
        """It stands still since nobody may run it twice."""
        self._tell(
            workload,
            "Warning",
            "Fenced",
            f"frozen on {self._node}: the node's lease was last renewed {lease_age_s:.1f} s before",
        )

    def unfenced(self, workload: Ref) -> None:
        """It goes on."""
        self._tell(workload, "Normal", "Unfenced", f"goes on on {self._node}: the claim is still its own")

    def copy_killed(self, workload: Ref, holder: str) -> None:
        """A copy that had lost its claim was ended."""
        self._tell(
            workload, "Warning", "CopyKilled", f"ended the copy on {self._node}: {holder or 'nobody'} has the claim now"
        )

    def stale_copy_removed(self, workload: Ref, holder: str) -> None:
        """A container that another node has gone on with is gone here."""
        self._tell(
            workload, "Normal", "StaleCopyRemoved", f"removed the old container on {self._node}: it goes on on {holder}"
        )

    def created(self, workload: Ref, container: str, version: int) -> None:
        """A plain container was made out of a version."""
        self._tell(workload, "Normal", "Created", f"created {container} on {self._node} out of version {version}")

    def not_created(self, workload: Ref, error: Exception) -> None:
        """A plain container that was sent here could not be brought up."""
        self._tell(workload, "Warning", "PlacementFailed", f"{self._node} could not bring it up: {error}")

    def version_failed(self, workload: Ref, reason: str, message: str) -> None:
        """A version could not be taken."""
        self._tell(workload, "Warning", reason, message)

    def final_version(self, workload: Ref, number: int) -> None:
        """The last version of a task that was asked to stop."""
        self._tell(workload, "Normal", "FinalVersion", f"took version {number} as the task was stopped on {self._node}")

    def ending(self, workload: Ref, restore: str, *, keep: bool) -> None:
        """It is ended since its next start is ordered."""
        how = "with a final version" if keep else "without keeping its state"
        self._tell(workload, "Normal", "Ending", f"ends it on {self._node} {how}, as Restore {restore} wants it")

    def order_refused(self, workload: Ref, restore: str, why: str) -> None:
        """It runs on although its next start is ordered."""
        self._tell(workload, "Warning", "OrderRefused", f"not ended on {self._node} for Restore {restore}: {why}")

    def _tell(self, workload: Ref, type_: str, reason: str, message: str) -> None:
        log.info("event", workload=str(workload), reason=reason, message=message)
        self._events.record(self._claims.identity(workload), type_, reason, message)
