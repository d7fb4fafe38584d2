"""What a start has to go by beside the versions: an order, and which versions lead to what ran last. Used by the agent.

An order is answered by one start, once, though any process may die at any step: the start says which order it answered,
so do the versions taken of it, and the API takes the order away in the same write in which it learns of the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarmkeep.model.line import Line
from swarmkeep.model.workload import Order, Workload
from swarmkeep.plan.start import Candidate

STARTS_KEPT = 10
"""So many past starts are told in the status of a workload."""

_TOLD = (
    "how",
    "reason",
    "message",
    "version",
    "seconds",
    "node",
    "taskID",
    "at",
    "restore",
    "order",
    "obeyed",
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a start has to go by."""

    order: Order | None = None
    """None when there is none, or it was answered already."""
    line: Line = field(default_factory=Line)
    answered: str = ""
    """An order that was answered before, which the API has not heard of yet."""


@dataclass(frozen=True, slots=True)
class SeenStart:
    """The start before, as this node knows it. The API may not know it yet."""

    order: str
    line: Line
    again: bool = False
    """It is of this very task, whose start an agent had decided that died."""


def standing(before: Workload | None, seen: SeenStart | None, candidates: Sequence[Candidate]) -> Standing:
    """What holds for a start of a workload that was `before`; None when the API does not have it."""
    line = before.line if before is not None else Line()
    newest = max((item for item in candidates if item.spec_hash), key=lambda item: item.number, default=None)
    if newest is not None:
        line = line.or_of_version(newest.number, newest.line)
    if seen is not None:
        line = seen.line
    order = before.order if before is not None else None
    if order is None or before is None:
        return Standing(None, line, answered=seen.order if seen is not None and seen.again else "")
    started = [start.order for start in (*before.past_starts, before.last_start) if start is not None]
    if order.id in started or any(item.order == order.id for item in candidates) or (seen and seen.order == order.id):
        return Standing(None, line, answered=order.id)
    return Standing(order, line)


def with_start_noted(before: Workload, status: Mapping[str, Any], noted: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`status`, a merge patch of a workload's status, and what follows from the start that it tells.

    `noted` are the past starts as the API has them. One that is told again is not noted twice; the order that it has
    answered is taken away.
    """
    start = status.get("lastStart")
    changed = dict(status)
    if not start:
        return changed
    entry = {name: start[name] for name in _TOLD if start.get(name) is not None}
    if noted and _is_of_one_task(entry, noted[-1]):
        changed["starts"] = [*noted[:-1], entry]
    else:
        changed["starts"] = [*noted, entry][-STARTS_KEPT:]
    if before.order is not None and before.order.id == start.get("order"):
        changed |= {"order": None, "orderRefused": None}
    return changed


def _is_of_one_task(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """A container that no Swarm runs has no task, and may start more than once."""
    keys = ("taskID", "node") if one.get("taskID") else ("at", "node")
    return all(one.get(key) == other.get(key) for key in keys)
