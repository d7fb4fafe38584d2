"""Conditions: what is true of an object now, with a reason for programs and a sentence for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from swarmkeep.model.wire import format_time


class Status(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an object."""

    type: str
    status: Status
    reason: str
    """One CamelCase word."""
    message: str


def find_condition(conditions: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """The condition of that type in an object's `status.conditions`."""
    return next((item for item in conditions if item.get("type") == type_), None)


def merge_conditions(
    old: Sequence[Mapping[str, Any]], new: Sequence[Condition], now: datetime, generation: int
) -> list[dict[str, Any]]:
    """`status.conditions` with `new` in place; lastTransitionTime moves only when a status changes.

    Types that `new` does not name stay. Equal input gives equal output, so that nothing is written for nothing.
    """
    merged = {item["type"]: dict(item) for item in old}
    for condition in new:
        before = merged.get(condition.type)
        since = before.get("lastTransitionTime") if before and before.get("status") == condition.status else None
        merged[condition.type] = {
            "type": condition.type,
            "status": str(condition.status),
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": since or format_time(now),
            "observedGeneration": generation,
        }
    return list(merged.values())
