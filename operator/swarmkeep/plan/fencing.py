"""What a node does with its workloads when it may have lost the right to run them."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from swarmkeep.model.policy import Fencing
from swarmkeep.model.workload import Claim


class FenceAction(StrEnum):
    """What has to be done to one container now."""

    RUN = "Run"
    """It may run; thaw it if it was fenced."""
    FREEZE = "Freeze"
    KEEP_FROZEN = "KeepFrozen"
    """It is fenced and nobody knows yet whether the claim is still ours."""
    KILL = "Kill"
    """Another node has the claim: this copy must never run again."""


def fence_action(
    fencing: Fencing,
    *,
    node: str,
    epoch: int,
    lease_age: timedelta,
    fence_after: timedelta,
    fenced: bool,
    claim: Claim | None,
) -> FenceAction:
    """Decides for one container that `node` runs under claim number `epoch`.

    `epoch` is 0 for a copy that never had the claim. `lease_age` is the time since the last renewal of the node's lease
    that went through was *sent*. `claim` is the workload's claim as read after that renewal; None when it has not been
    read since then.
    """
    if claim is not None and _is_outlived(node, epoch, fenced, claim):
        return FenceAction.KILL
    if fencing is Fencing.NONE:
        return FenceAction.RUN
    if lease_age >= fence_after:
        return FenceAction.KEEP_FROZEN if fenced else FenceAction.FREEZE
    if fenced and claim is None:
        return FenceAction.KEEP_FROZEN
    return FenceAction.RUN


def _is_outlived(node: str, epoch: int, fenced: bool, claim: Claim) -> bool:
    """Whether another copy has, or has had, the right to run since this one came up."""
    if claim.node not in ("", node):
        # Whatever the epochs say: those of a workload that was deleted and made anew begin at 1 again.
        return True
    if epoch == 0:
        # It may claim what is free. But if it was cut off before it could, somebody may have come and gone meanwhile.
        return fenced and claim.node == "" and claim.epoch > 0
    return claim.epoch > epoch
