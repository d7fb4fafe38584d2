"""What a workload needs of a node, gathered from what is known of it. Pure; used by the operator and the CLI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarmkeep.model.checkpoint import Checkpoint
from swarmkeep.model.node import NodeFacts, PlacementFailure
from swarmkeep.model.policy import Policy
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.model.workload import Workload
from swarmkeep.plan.host_fit import Needs, VersionNeeds


def needs_of(
    workload: Workload,
    uid: str,
    traits: ContainerTraits | None,
    policy: Policy | None,
    checkpoints: Sequence[Checkpoint],
    nodes: Sequence[NodeFacts],
    *,
    constraints: Sequence[str] = (),
    bound_to: str = "",
    failed: Mapping[str, PlacementFailure] | None = None,
) -> Needs:
    """`checkpoints` are the workload's, `nodes` all there are. `constraints` and `bound_to` are those of its service;
    for a plain container the policy has them. `failed` is what nodes say of having been given it in vain.
    """
    plain = workload.container_name is not None
    if plain and policy is not None:
        constraints = policy.placement.constraints
    return Needs(
        workload=workload.ref,
        plain=plain,
        seed=f"{uid}/{workload.claim.epoch}",
        # The task of a global service has no other node to go to.
        leaves="" if bound_to else workload.claim.node,
        bound_to=bound_to,
        constraints=tuple(constraints),
        traits=traits,
        version=_newest_good(checkpoints, nodes),
        lazy=policy is None or policy.restore.lazy,
        covered=policy.volumes if policy is not None else (),
        failed={name: one.message for name, one in (failed or {}).items() if _counts(one, workload)},
    )


def _counts(failure: PlacementFailure, workload: Workload) -> bool:
    """Each try raises the epoch, so while nobody has the claim all tries that are still told are of the same loss.

    Once somebody has it, what a node could not do before that says nothing of now.
    """
    return not workload.claim.node or failure.epoch == workload.claim.epoch


def _newest_good(checkpoints: Sequence[Checkpoint], nodes: Sequence[NodeFacts]) -> VersionNeeds | None:
    good = [item for item in checkpoints if item.is_good]
    newest = max(good, key=lambda item: item.version or 0, default=None)
    if newest is None or newest.version is None:
        return None
    taken_on = next((node for node in nodes if node.name == newest.node), None)
    return VersionNeeds(
        number=newest.version,
        host=newest.host,
        cpu_features=taken_on.cpu_features if taken_on else frozenset(),
        locations=newest.data_in,
        memory_bytes=newest.memory_bytes,
    )
