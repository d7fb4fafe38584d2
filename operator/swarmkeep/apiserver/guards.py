"""Conditions on a write that its headers ask for, checked in the write's own etcd transaction.

`Swarmkeep-Fence: <election>=<token>`: the writer must still be the leader that the token was given to.
`Swarmkeep-Expired-Lease: <node>`: the node's lease must have run out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from swarmkeep.apiserver.node_leases import NodeLeases, lease_key, renewed
from swarmkeep.apiserver.status_errors import StatusError, bad_request, fenced_off
from swarmkeep.etcd.election import fence_key
from swarmkeep.etcd.port import Etcd
from swarmkeep.etcd.records import Compare, KeyValue

FENCE_HEADER = "Swarmkeep-Fence"
EXPIRED_LEASE_HEADER = "Swarmkeep-Expired-Lease"

_FENCE = re.compile(r"([a-z0-9-]{1,63})=([1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Demands:
    """What a request's headers demand."""

    fence: tuple[str, int] | None = None
    """Name of the election, and the token."""
    expired_lease: str = ""
    """Name of the node."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One compare of a transaction and the error if it does not hold."""

    compare: Compare
    error: StatusError

    def holds(self, current: KeyValue | None) -> bool:
        """Whether the compare holds for the key as it is."""
        if current is None:
            return self.compare.revision == 0
        revision = current.mod_revision if self.compare.target == "mod" else current.create_revision
        return revision == self.compare.revision


def demands_of(headers: Mapping[str, str]) -> Demands:
    """Reads the headers. Raises StatusError 400 if one makes no sense: an unread condition is no condition."""
    fence = None
    if (text := headers.get(FENCE_HEADER)) is not None:
        match = _FENCE.fullmatch(text.strip())
        if not match:
            raise bad_request(f"{FENCE_HEADER} must be <election>=<token>, for example operator=42, not {text!r}")
        fence = (match[1], int(match[2]))
    node = headers.get(EXPIRED_LEASE_HEADER)
    if node is not None:
        lease_key(node.strip())
    return Demands(fence, (node or "").strip())


async def guards_for(demands: Demands, etcd: Etcd, node_leases: NodeLeases) -> tuple[Guard, ...]:
    """The demands as guards of a transaction. Raises StatusError LeaseAlive if the lease has not run out."""
    guards = []
    if demands.fence:
        name, token = demands.fence
        guards.append(Guard(Compare(fence_key(name), "create", token), fenced_off(name, token)))
    if demands.expired_lease:
        current = await etcd.get(lease_key(demands.expired_lease))
        compare = node_leases.expired(demands.expired_lease, current)
        guards.append(Guard(compare, renewed(demands.expired_lease)))
    return tuple(guards)
