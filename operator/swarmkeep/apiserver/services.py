"""What the verbs work with: made once by the daemon, or by a test around a twin of etcd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from swarmkeep.apiserver.event_leases import EventLeases
from swarmkeep.apiserver.history import History
from swarmkeep.apiserver.hub import Hub
from swarmkeep.apiserver.namespaces import Namespaces
from swarmkeep.apiserver.node_leases import NodeLeases
from swarmkeep.apiserver.recent import RecentObjects
from swarmkeep.apiserver.resources import Registry
from swarmkeep.apiserver.store import ObjectStore
from swarmkeep.etcd.port import Etcd


@dataclass(frozen=True, slots=True)
class Services:
    """All that a request may need."""

    etcd: Etcd
    registry: Registry
    store: ObjectStore
    history: History
    hub: Hub
    namespaces: Namespaces
    node_leases: NodeLeases
    event_leases: EventLeases
    recent: RecentObjects


def make_services(etcd: Etcd, registry: Registry, *, clock: Callable[[], float] = monotonic) -> Services:
    """The services of one server. `clock` is what leases are judged by."""
    history, namespaces, node_leases, recent = History(), Namespaces(), NodeLeases(clock), RecentObjects()
    return Services(
        etcd=etcd,
        registry=registry,
        store=ObjectStore(etcd),
        history=history,
        hub=Hub(etcd, history, (namespaces, node_leases, recent)),
        namespaces=namespaces,
        node_leases=node_leases,
        event_leases=EventLeases(etcd, clock),
        recent=recent,
    )
