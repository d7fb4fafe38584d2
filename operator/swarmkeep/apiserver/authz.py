"""Who may do what: pure functions of caller, request and object.

Called twice for a write: `denial` before anything is read, `write_denial` with the object as it is and as it would be.
Both return why not, or None. Everybody with a role may read everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmkeep.apiserver.authn import Role, User
from swarmkeep.model.kinds import (
    CHECKPOINT,
    EVENT,
    GROUP,
    LABEL_NODE,
    LEASE,
    LOCATION,
    NODE,
    NODE_LEASE_NAMESPACE,
    WORKLOAD,
)
from swarmkeep.model.kinds import NAMESPACE as NAMESPACE_KIND
from swarmkeep.model.wire import section

READS = frozenset({"get", "list", "watch"})
_SERVERS_OWN = frozenset({"resourceVersion", "managedFields", "generation"})
_CHANGES = frozenset({"create", "update", "patch"})

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked for."""

    verb: str
    group: str
    plural: str
    namespace: str = ""
    name: str = ""
    """Empty for a collection, and for a new object until its name is known."""
    subresource: str = ""

    def describe(self) -> str:
        """For messages: `patch resource "workloads/status" in API group "swarmkeep.dev"`."""
        resource = f"{self.plural}/{self.subresource}" if self.subresource else self.plural
        where = f' in the namespace "{self.namespace}"' if self.namespace else " at the cluster scope"
        return f'{self.verb} resource "{resource}" in API group "{self.group}"{where}'


def denial(user: User, access: Access) -> str | None:
    """Why this is out of the question whatever the object says; None if it may be allowed."""
    match user.role:
        case Role.ADMIN:
            return None
        case Role.NONE:
            return "the certificate's organization is none of swarmkeep:admin, swarmkeep:operator, swarmkeep:agent"
    if access.verb in READS:
        return None
    if user.role is Role.OPERATOR:
        written = {EVENT.plural: EVENT.group, LEASE.plural: LEASE.group, NAMESPACE_KIND.plural: NAMESPACE_KIND.group}
        allowed = access.group == GROUP or written.get(access.plural) == access.group
        return None if allowed else "the operator writes SwarmKeep's own kinds, events, leases and namespaces only"
    return _agent_denial(user, access)


def write_denial(user: User, access: Access, old: Object | None, new: Object | None, expired_lease: str) -> str | None:
    """Why this write is not allowed given the object before (None: it is new) and after (None: it goes).

    `expired_lease` is the node whose lease is proven to have run out in the same transaction; empty for none.
    """
    if user.role is not Role.AGENT:
        return None
    if (access.group, access.plural) == (CHECKPOINT.group, CHECKPOINT.plural):
        if _answers(user, old, new, order="verification", field="verified"):
            return None
        if old is not None and _checkpoint_node(old) not in ("", user.name):
            return "an agent may write only checkpoints of its own node"
        if new is None and old is not None and not _checkpoint_node(old):
            return "an agent may delete only checkpoints that were given to its node"
        if new is not None and _checkpoint_node(new) != user.name:
            return f"an agent's checkpoint must carry the label {LABEL_NODE} with its own node's name"
    if (access.group, access.plural) == (LOCATION.group, LOCATION.plural):
        if _answers(user, old, new, order="import", field="imported"):
            return None
        return "an agent may write only what it was told to import, and nothing else of a storagelocation"
    if (access.group, access.plural) == (WORKLOAD.group, WORKLOAD.plural):
        return _claim_denial(user, old, new, expired_lease)
    if (access.group, access.plural) == (EVENT.group, EVENT.plural) and new is not None:
        if old is not None and _reporter(old) != user.name:
            return "an agent may change only events that it has reported"
        if _reporter(new) != user.name:
            return "an agent's event must carry its node's name in reportingInstance"
    return None


def _agent_denial(user: User, access: Access) -> str | None:
    match (access.group, access.plural):
        case (NODE.group, NODE.plural):
            if access.verb == "deletecollection" or (access.name and access.name != user.name):
                return "an agent may write only its own node"
            return None
        case (LEASE.group, LEASE.plural):
            if access.namespace != NODE_LEASE_NAMESPACE or access.verb == "deletecollection":
                return f"an agent may write leases only in the namespace {NODE_LEASE_NAMESPACE}"
            if access.name and access.name != user.name:
                return "an agent may write only its own node's lease"
            return None
        case (EVENT.group, EVENT.plural):
            return None if access.verb in _CHANGES else "an agent may not delete events"
        case (CHECKPOINT.group, CHECKPOINT.plural):
            return None if access.verb != "deletecollection" else "an agent deletes one checkpoint at a time"
        case (LOCATION.group, LOCATION.plural):
            if access.subresource == "status" and access.verb in _CHANGES:
                return None
            return "an agent may not write storagelocations"
        case (WORKLOAD.group, WORKLOAD.plural):
            if access.subresource == "status" and access.verb in _CHANGES:
                return None
            return "an agent may write only the status of workloads"
    return "an agent may not write this kind"


def _answers(user: User, old: Object | None, new: Object | None, order: str, field: str) -> bool:
    """Whether an agent that the operator gave an order to writes its answer, and nothing else."""
    if old is None or new is None or section(old, "status", order).get("node") != user.name:
        return False
    return _without(old, field) == _without(new, field)


def _without(obj: Object, field: str) -> tuple[Object, ...]:
    """What an object says, apart from a field of its status and from what the server itself keeps."""
    metadata = {key: value for key, value in section(obj, "metadata").items() if key not in _SERVERS_OWN}
    status = {key: value for key, value in section(obj, "status").items() if key != field}
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}, metadata, status


def _checkpoint_node(obj: Object) -> str:
    """The node that has to do with it now: the operator may have given a dead node's version to another to delete."""
    return str(section(obj, "status").get("node") or section(obj, "metadata", "labels").get(LABEL_NODE) or "")


def _reporter(event: Object) -> str:
    return str(event.get("reportingInstance") or section(event, "source").get("host") or "")


def _claim_denial(user: User, old: Object | None, new: Object | None, expired_lease: str) -> str | None:
    if old is None or new is None:
        return "an agent may write only the status of workloads that exist"
    holder, taker = _claim_node(old), _claim_node(new)
    if taker not in ("", user.name):
        return "an agent may claim workloads only for its own node"
    if holder not in ("", user.name, expired_lease):
        return f"the workload is claimed by node {holder}, whose lease must be proven to have run out"
    epoch = _claim_epoch(old)
    # A claim is taken under the next epoch, each time; whoever keeps it or gives it back leaves the epoch alone.
    allowed = (epoch, epoch + 1) if taker and holder == taker else (epoch + 1,) if taker else (epoch,)
    if _claim_epoch(new) not in allowed:
        return f"the claim's epoch may become {' or '.join(map(str, allowed))}, not {_claim_epoch(new)}"
    return None


def _claim_node(obj: Object) -> str:
    return str(section(obj, "status", "claim").get("node") or "")


def _claim_epoch(obj: Object) -> int:
    return int(section(obj, "status", "claim").get("epoch") or 0)
