"""Which node goes on with a plain container whose node is lost, and for each other one why not. Pure.

First filters, then a strategy. For a service's task the same filters say where it could be restored: Swarm chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.node import NodeFacts
from swarmkeep.model.policy import PlacementRules, Strategy
from swarmkeep.plan.container_fit import container_findings, demand_bytes
from swarmkeep.plan.findings import Finding, Severity, worst_first
from swarmkeep.plan.host_fit import Needs, Surroundings, has_ready, host_findings, look_around

PLACED = "Placed"
_NAMED = 5
"""Nodes that a message names before it only counts."""
_TOP = 99
"""The most that a strategy gives."""


class Verdict(StrEnum):
    """What becomes of a node."""

    CHOSEN = "Chosen"
    POSSIBLE = "Possible"
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """One node's."""

    node: str
    verdict: Verdict
    score: int | None
    """None when it is refused. Thousands: 2 when it has the newest version ready, 1 when an older one. Hundreds: 9 less
    the number of doubts. The rest: what the strategy gives, 0 to 99."""
    findings: tuple[Finding, ...]
    """Why it is refused, and what else is to be known of it; the worst first."""
    ready_version: int | None = None
    """The version that it has ready on its disk."""

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """Why it is refused."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.PROBLEM)


@dataclass(frozen=True, slots=True)
class Placement:
    """A verdict on every node: the chosen one first, then the possible ones from the best on, then the others."""

    verdicts: tuple[NodeVerdict, ...]

    @property
    def chosen(self) -> str | None:
        """The node; None when no node can run it, or when Swarm chooses."""
        return next((one.node for one in self.verdicts if one.verdict is Verdict.CHOSEN), None)

    @property
    def possible(self) -> tuple[str, ...]:
        """All nodes that can run it, the best first."""
        return tuple(one.node for one in self.verdicts if one.verdict is not Verdict.REFUSED)

    @property
    def why_not(self) -> str:
        """Why no node can run it: node by node, the first of them."""
        if not self.verdicts:
            return "there is no node"
        told = [f"{one.node}: {', '.join(reason.message for reason in one.reasons)}" for one in self.verdicts[:_NAMED]]
        rest = len(self.verdicts) - _NAMED
        return "; ".join(told) + (f"; and {rest} more, see swarmkeep explain-placement" if rest > 0 else "")


def place(needs: Needs, nodes: Sequence[NodeFacts], rules: PlacementRules) -> Placement:
    """The verdict on every node. The same input gives the same answer, in whatever order the nodes come."""
    ordered = sorted(nodes, key=lambda node: node.name)
    around = look_around(needs, ordered)
    judged = [(node, _findings(node, needs, around)) for node in ordered]
    able = [(node, found) for node, found in judged if not _is_refused(found)]
    able.sort(key=lambda item: _rank(item[0], item[1], needs, rules.strategy), reverse=True)
    verdicts = []
    for number, (node, found) in enumerate(able):
        verdict = Verdict.CHOSEN if needs.plain and number == 0 else Verdict.POSSIBLE
        score = _score(node, found, needs, rules.strategy)
        verdicts.append(NodeVerdict(node.name, verdict, score, found, has_ready(node, needs)))
    verdicts += [
        NodeVerdict(node.name, Verdict.REFUSED, None, found, has_ready(node, needs))
        for node, found in judged
        if _is_refused(found)
    ]
    return Placement(tuple(verdicts))


def given_condition(node: str) -> Condition:
    """The workload's condition Placed when it was given to a node."""
    return Condition(PLACED, Status.TRUE, "NodeChosen", f"{node} is to go on with it")


def nowhere_condition(placement: Placement) -> Condition:
    """The workload's condition Placed when no node can run it."""
    return Condition(PLACED, Status.FALSE, "NoNode", f"no node can run it: {placement.why_not}")


def _findings(node: NodeFacts, needs: Needs, around: Surroundings) -> tuple[Finding, ...]:
    found = [*host_findings(node, needs, around)]
    if needs.plain and node.versions and node.name != needs.leaves:
        found += container_findings(node, needs, around)
    return worst_first(found)


def _is_refused(findings: Sequence[Finding]) -> bool:
    return any(finding.severity is Severity.PROBLEM for finding in findings)


def _rank(
    node: NodeFacts, findings: Sequence[Finding], needs: Needs, strategy: Strategy
) -> tuple[int, int, bytes, str]:
    running = {Strategy.SPREAD: -node.load.running, Strategy.BIN_PACK: node.load.running, Strategy.RANDOM: 0}
    return (_score(node, findings, needs, strategy), running[strategy], _lot(node, needs), node.name)


def _score(node: NodeFacts, findings: Sequence[Finding], needs: Needs, strategy: Strategy) -> int:
    ready = has_ready(node, needs)
    data = 0 if ready is None else 2 if needs.version is not None and ready >= needs.version.number else 1
    doubts = sum(finding.severity is Severity.WARNING for finding in findings)
    return 1000 * data + 100 * (9 - min(doubts, 9)) + _by_strategy(node, needs, strategy)


def _by_strategy(node: NodeFacts, needs: Needs, strategy: Strategy) -> int:
    if strategy is Strategy.RANDOM:
        return _lot(node, needs)[0] * (_TOP + 1) // 256
    full = _fullness(node, needs)
    if full is None:
        return 0
    return round(_TOP * (full if strategy is Strategy.BIN_PACK else 1 - full))


def _fullness(node: NodeFacts, needs: Needs) -> float | None:
    """How full it would be, 0 to 1: of memory and processors whichever is scarcer. None when nothing is known."""
    load, shares = node.load, []
    if load.memory_bytes:
        used = load.memory_bytes - load.free_memory_bytes if load.free_memory_bytes is not None else 0
        shares.append((max(load.taken_memory_bytes, used) + demand_bytes(needs)) / load.memory_bytes)
    if load.cpus:
        shares.append((load.taken_cpus + (needs.traits.cpus if needs.traits else 0)) / load.cpus)
    return min(1.0, max(0.0, *shares)) if shares else None


def _lot(node: NodeFacts, needs: Needs) -> bytes:
    return hashlib.blake2b(f"{needs.seed or needs.workload}@{node.name}".encode(), digest_size=8).digest()
