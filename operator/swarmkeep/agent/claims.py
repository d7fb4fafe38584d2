"""Taking, keeping and giving back the right to run a workload, through the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from swarmkeep.errors import Conflict
from swarmkeep.kube.answers import LeaseAlive
from swarmkeep.kube.client import Client, Obj
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.model.wire import section
from swarmkeep.model.workload import Assignment, Claim, Phase, Workload, parse_workload
from swarmkeep.plan.ends import EndBefore, SeenEnd, end_before
from swarmkeep.plan.orders import with_start_noted


@dataclass(frozen=True, slots=True)
class Taken:
    """The claim is ours. `before` is the workload as it was."""

    claim: Claim
    before: Workload
    end: EndBefore
    """How the task before ended; the API knows it together with the claim."""
    from_lost_node: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """Another node has it and lives, or was faster."""

    message: str
    retry_after_s: float
    holder: Claim | None = None
    """The claim of the node that has it; None when that is not known."""
    placement: Assignment | None = None
    """Where the operator last sent it, if it is a plain container."""


class Claims:
    """The claims of one node. Every change compares the resource version, so that of two takers one loses."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._identities: dict[Ref, Obj] = {}

    async def read(self, ref: Ref) -> Workload:
        """The workload as it is now. Raises NotFound, Unavailable."""
        return parse_workload(await self._get(ref))

    def identity(self, ref: Ref) -> Obj:
        """What an Event about the workload has to name: with its uid once it was read."""
        return self._identities.get(ref, _address(ref))

    async def take(
        self, ref: Ref, phase: Phase, seen: SeenEnd | None = None, *, container: str | None = None
    ) -> Taken | Busy:
        """Takes the claim if it is free, ours already, or its holder's lease has run out; each time under a new epoch.

        `seen` is how the task before ended, if this node saw it. The end is written together with the claim: nobody
        could tell later that the claim came from a node that was lost. `container` is the name of a plain container;
        one that the operator has sent to another node is that node's.

        Raises NotFound when there is no such workload, Unavailable when the API does not answer.
        """
        before = await self.read(ref)
        if before.container_name != container:
            return Busy(f"the workload {ref} is that of {before.source}: choose another name", 1.0)
        if before.placement is not None and before.is_placed_elsewhere(self._node):
            return Busy(f"{before.placement.node} was told to go on with {ref}", 0.5)
        holder = before.claim.node
        other = holder if holder not in ("", self._node) else None
        claim = Claim(self._node, before.claim.epoch + 1)
        end = end_before(before, self._node, seen, datetime.now(UTC))
        status: Obj = {"claim": {"node": claim.node, "epoch": claim.epoch}, "phase": str(phase)}
        if end.is_news:
            status["lastEnd"] = end.status
        patch = {"metadata": {"resourceVersion": before.resource_version}, "status": status}
        try:
            await self._client.patch(
                WORKLOAD, ref.name, patch, ref.namespace, subresource="status", expired_lease=other
            )
        except LeaseAlive as alive:
            message = f"{other} has the right to run {ref} and is alive"
            return Busy(message, max(0.02, alive.retry_after_s or 0.2), before.claim, before.placement)
        except Conflict:
            return Busy(f"somebody else changed {ref} at the same time", 0.05)
        return Taken(claim, before, end, other is not None)

    async def report(self, ref: Ref, claim: Claim, status: Mapping[str, Any]) -> Workload | None:
        """Writes our part of the status while the claim is ours, and notes the start that it tells among past ones.

        Returns the workload with the claim of whoever has it when it is not; then nothing was written. Returns None
        when all is well or the workload was deleted. Raises Unavailable.
        """
        for _ in range(5):
            obj = await self._get(ref)
            before = parse_workload(obj)
            if before.claim.epoch > claim.epoch or before.claim.node not in ("", claim.node):
                return before
            noted = section(obj, "status").get("starts") or ()
            full = with_start_noted(before, status, noted)
            patch = {"metadata": {"resourceVersion": before.resource_version}, "status": full}
            try:
                await self._client.patch(WORKLOAD, ref.name, patch, ref.namespace, subresource="status")
            except Conflict:
                continue
            return None
        raise Conflict(f"workload {ref} changes faster than its status can be written")

    async def refuse(self, ref: Ref, claim: Claim, order: str, message: str) -> None:
        """Says why the task that runs was not ended as an order says. Raises SwarmKeepError."""
        await self.report(ref, claim, {"orderRefused": {"uid": order, "message": message}})

    async def _get(self, ref: Ref) -> Obj:
        obj = await self._client.get(WORKLOAD, ref.name, ref.namespace)
        self._identities[ref] = {**_address(ref), "metadata": obj["metadata"]}
        return obj


def _address(ref: Ref) -> Obj:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": WORKLOAD.api_version, "kind": WORKLOAD.name, "metadata": metadata}
