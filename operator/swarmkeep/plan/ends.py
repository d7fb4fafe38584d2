"""How the task before ended. Used by the agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import End, LastEnd, Workload


@dataclass(frozen=True, slots=True)
class SeenEnd:
    """An end that this node has seen itself. The API may not know it yet."""

    epoch: int
    """The claim under which the task ran."""
    status: Mapping[str, Any]
    """As status.lastEnd of the workload will have it."""


@dataclass(frozen=True, slots=True)
class EndBefore:
    """How the task before ended, at the moment at which a node takes the claim."""

    how: End | None
    """None when nobody saw it end."""
    status: Mapping[str, Any] | None
    """status.lastEnd of the workload from now on; None when nothing is known."""
    is_news: bool
    """Whether the API does not have it yet: then it has to be written together with the claim."""


def end_before(before: Workload, node: str, seen: SeenEnd | None, now: datetime) -> EndBefore:
    """What `node` knows of the last end when it takes the claim of a workload that was `before`.

    The answer goes into the same write as the claim, so that it is the same however often the claim is taken again: by
    a repetition after an answer that was lost, or by the next life of an agent that died.
    """
    if before.claim.node not in ("", node):
        return EndBefore(End.NODE_LOSS, end_status(End.NODE_LOSS, now), is_news=True)
    if seen is not None and seen.epoch == before.claim.epoch:
        # Nobody has had the claim since.
        return EndBefore(End(seen.status["how"]), seen.status, is_news=True)
    last = before.last_end
    if last is None or _is_of_an_earlier_task(last, before):
        return EndBefore(None, None, is_news=False)
    return EndBefore(last.how, end_status(last.how, last.at, final_version=last.final_version), is_news=False)


def end_status(
    how: End, at: datetime | None, exit_code: int | None = None, final_version: int | None = None
) -> dict[str, Any]:
    """status.lastEnd as a merge patch: it names every field, so that nothing of an earlier end stays."""
    return {
        "how": str(how),
        "at": format_time(at) if at else None,
        "exitCode": exit_code,
        "finalVersion": final_version,
    }


def _is_of_an_earlier_task(last: LastEnd, workload: Workload) -> bool:
    """Whether a task came up after that end, so that the end says nothing of the last one.

    Start and end are times of one node's clock then. The loss of a node is told by another node, and never outdated.
    """
    start = workload.last_start
    if last.how is End.NODE_LOSS or last.at is None or start is None or start.at is None:
        return False
    return start.at > last.at
