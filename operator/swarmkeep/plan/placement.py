"""Whether the Swarm's constraints hold for a node: those of a service, or of a policy for plain containers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from swarmkeep.model.swarm import SwarmNode

_CONSTRAINT = re.compile(r"\s*(?P<key>[A-Za-z0-9_.\-/]+)\s*(?P<operator>==|!=)\s*(?P<value>.*?)\s*")


def may_run_on(constraints: Iterable[str], node: SwarmNode) -> bool:
    """Whether all constraints hold for the node. One that speaks of what is not known here counts as held."""
    return not unmet(constraints, node)


def unmet(constraints: Iterable[str], node: SwarmNode) -> tuple[str, ...]:
    """The constraints that do not hold for the node."""
    return tuple(constraint for constraint in constraints if not _holds(constraint, node))


def _holds(constraint: str, node: SwarmNode) -> bool:
    found = _CONSTRAINT.fullmatch(constraint)
    if found is None:
        return True
    key, wanted = found["key"].lower(), found["value"]
    if key == "node.id":
        actual = node.id
    elif key == "node.hostname":
        actual = node.hostname
    elif key == "node.ip":
        actual = node.address
    elif key == "node.role":
        actual = "manager" if node.manager else "worker"
    elif key.startswith("node.labels."):
        # Swarm leaves the label's own letters as they are.
        actual = node.labels.get(found["key"][len("node.labels.") :], "")
    else:
        return True
    return (actual.lower() == wanted.lower()) == (found["operator"] == "==")
