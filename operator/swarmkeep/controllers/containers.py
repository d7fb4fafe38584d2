"""The plain containers that the nodes' agents report, as far as a policy selects them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from swarmkeep.controllers.cache import Obj
from swarmkeep.model.ident import Ref
from swarmkeep.model.node import SeenContainer, parse_containers
from swarmkeep.model.wire import section
from swarmkeep.plan.nodes import is_lost


@dataclass(frozen=True, slots=True)
class Containers:
    """All of them, by policy and by name."""

    lost_nodes: frozenset[str] = frozenset()
    """Nodes whose report is as old as their loss."""
    _by_policy: dict[Ref, list[SeenContainer]] = field(default_factory=dict)
    _by_name: dict[str, list[SeenContainer]] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Iterable[Obj]) -> Containers:
        """Reads the Node objects."""
        nodes = list(nodes)
        lost = (node for node in nodes if is_lost(tuple(section(node, "status").get("conditions") or ())))
        found = cls(frozenset(str(node["metadata"]["name"]) for node in lost))
        for node in nodes:
            for item in parse_containers(node):
                found._by_name.setdefault(item.name, []).append(item)
                for policy in item.policies:
                    found._by_policy.setdefault(policy, []).append(item)
        return found

    def of_policy(self, policy: Ref) -> tuple[SeenContainer, ...]:
        """Those that a policy selects."""
        return tuple(self._by_policy.get(policy, ()))

    def of_name(self, name: str) -> tuple[SeenContainer, ...]:
        """Those of a name, on whichever node."""
        return tuple(self._by_name.get(name, ()))
