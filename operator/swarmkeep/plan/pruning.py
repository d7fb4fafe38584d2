"""What of a workload may go now, if anything. The operator does it, `swarmkeep prune` shows it: the same plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from swarmkeep.model.checkpoint import Checkpoint
from swarmkeep.model.policy import Policy
from swarmkeep.model.workload import Phase, Workload
from swarmkeep.plan.drift import last_of_earlier_service, unwanted_cold_start
from swarmkeep.plan.replication import anchors
from swarmkeep.plan.restore_tests import newest_proven
from swarmkeep.plan.retention import Retention, plan_retention


@dataclass(frozen=True, slots=True)
class Pruning:
    """What the rules say of a workload's versions, and whether anything may go at all."""

    retention: Retention
    """What the rules say; of no version anything when there are no rules because the policy is gone."""
    hindrance: str
    """Why nothing may go now, whatever the rules say; empty when nothing speaks against it."""

    @property
    def going(self) -> tuple[Checkpoint, ...]:
        """What goes now, the oldest first."""
        return () if self.hindrance else self.retention.going

    @property
    def wake_at(self) -> datetime | None:
        """When the next version becomes too old; None when none will, or when nothing may go anyway."""
        return None if self.hindrance else self.retention.wake_at


def plan_pruning(
    workload: Workload,
    policy: Policy | None,
    checkpoints: Sequence[Checkpoint],
    now: datetime,
    *,
    node_lost: bool,
    stopped_too: bool = False,
) -> Pruning:
    """What of the workload goes now.

    `policy` is None when it is gone or says what cannot be done; `node_lost` says that the node that holds the claim is
    lost. `stopped_too`: somebody wants a workload that is Stopped to be pruned as well.
    """
    if policy is None:
        text = f"its policy {workload.policy} does not exist or cannot be carried out"
        return Pruning(Retention((), (), None), text)
    needed: dict[int, str] = {}
    missed = unwanted_cold_start(workload, checkpoints)
    if missed is not None and missed.keep_version is not None:
        needed[missed.keep_version] = "missed by a cold start"
    left_behind = last_of_earlier_service(workload, checkpoints)
    if left_behind is not None:
        needed[left_behind] = "the last of an earlier service of this name"
    proven = newest_proven(checkpoints)
    if proven is not None:
        needed[proven] = "the newest that came up in a test restore"
    if workload.line.left:
        # After a rollback newer ones fill keepLast, and of these none is what a crash would be gone on from.
        needed |= dict.fromkeys(_newest(policy, checkpoints, workload.line.has), "of the newest that lead to what runs")
    if workload.crashes is not None:
        # What is taken of processes that crash again and again may all be as bad.
        since = workload.crashes.since
        before = {item.version for item in checkpoints if item.taken_at is not None and item.taken_at < since}
        needed |= dict.fromkeys(_newest(policy, checkpoints, before.__contains__), "from before it began to crash")
    if workload.order is not None and workload.order.version is not None:
        needed[workload.order.version] = f"being restored by {workload.order.restore}"
    needed |= anchors(checkpoints)
    retention = plan_retention(checkpoints, policy.retention, now, needed)
    return Pruning(retention, _hindrance(workload, node_lost, stopped_too))


def _newest(policy: Policy, checkpoints: Sequence[Checkpoint], counts: Callable[[int], bool]) -> list[int]:
    """Of the good versions that count as many as the policy keeps of the newest."""
    good = [item.version for item in checkpoints if item.is_good and item.version is not None and counts(item.version)]
    return sorted(good)[-policy.retention.keep_last :]


def _hindrance(workload: Workload, node_lost: bool, stopped_too: bool) -> str:
    """Versions go only while all is well: nobody may be about to restore one of them."""
    if node_lost:
        return f"{workload.claim.node}, which has the right to run it, is lost"
    if workload.failed_restores:
        numbers = ", ".join(str(number) for number in sorted(workload.failed_restores))
        return f"it could not be restored from version {numbers}: an older one may be needed"
    if workload.phase is Phase.STOPPED:
        return "" if stopped_too else "it is Stopped: its versions stay until somebody wants them gone"
    if workload.phase is not Phase.RUNNING:
        return f"it is {workload.phase}, not Running: one of them may be needed"
    return ""
