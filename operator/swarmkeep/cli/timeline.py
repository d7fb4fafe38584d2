"""The life of a workload as one list of moments, out of objects that last and events that do not. Pure.

Events are gone after an hour. Versions say when and where they were taken, and the workload how it last started and
ended: from these it follows where it ran and when it moved. Where both tell the same, the object is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from swarmkeep.errors import InvalidObject
from swarmkeep.model.wire import format_time, parse_time, section

Object = Mapping[str, Any]

AGENT = "swarmkeep-agent"
"""Who tells events that happened on the node that they name."""
SAME = timedelta(seconds=5)
"""An event is told up to so long before or after the status that says the same; its times are whole seconds."""
FINAL_TOLD = timedelta(minutes=5)
"""The event of a final version comes when it is in storage, up to so long after the instant that it holds."""


class What(StrEnum):
    """What happened."""

    SELECTED = "Selected"
    """A policy selected it for the first time."""
    ADOPTED = "Adopted"
    """Its container, which ran already, came under protection."""
    FRESH = "Fresh"
    """A task started from nothing."""
    RESTORED = "Restored"
    MOVED = "Moved"
    """It was seen on another node than before."""
    VERSION = "Version"
    FAILED = "VersionFailed"
    FENCED = "Fenced"
    UNFENCED = "Unfenced"
    ENDED = "Ended"
    EVENT = "Event"
    """Anything else that was told."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened."""

    at: datetime
    what: What
    node: str
    """Where; empty when it happened on no node in particular."""
    reason: str
    """One CamelCase word."""
    message: str
    version: int | None = None
    frozen_s: float | None = None
    warning: bool = False
    """Whether a person should look."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A stretch of time in which it ran on a node, as far as is known."""

    node: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened from `start` to `end`, oldest first, and where it ran in between."""

    start: datetime
    end: datetime
    moments: tuple[Moment, ...]
    stays: tuple[Stay, ...]

    @property
    def nodes(self) -> list[str]:
        """All nodes, in the order in which it came to them."""
        return list(dict.fromkeys([stay.node for stay in self.stays] + [m.node for m in self.moments if m.node]))

    def facts(self) -> dict[str, Any]:
        """The same for programs; times are RFC 3339 in UTC, nothing is left out but what is not known."""
        return {
            "from": format_time(self.start),
            "to": format_time(self.end),
            "moments": [_moment_facts(moment) for moment in self.moments],
            "stays": [
                {"node": stay.node, "from": format_time(stay.start), "to": format_time(stay.end)} for stay in self.stays
            ],
        }


def make_timeline(
    workload: Object, checkpoints: Iterable[Object], events: Iterable[Object], now: datetime, since: datetime | None
) -> Timeline:
    """The time line up to `now`. `since` leaves out what was before; by default it begins with the first moment."""
    known = [*_of_workload(workload), *_of_checkpoints(checkpoints)]
    told = [moment for moment in _of_events(events) if not any(_same(moment, fact) for fact in known)]
    moments = sorted([*known, *told], key=_order)
    moments = _place_ends(moments)
    stays = _stays(moments, workload, now)
    moments = sorted([*moments, *_moves(moments)], key=_order)
    start = since or min([moment.at for moment in moments], default=now)
    shown = tuple(moment for moment in moments if moment.at >= start)
    clipped = tuple(replace(stay, start=max(stay.start, start)) for stay in stays if stay.end >= start)
    return Timeline(start, max([now, *(moment.at for moment in shown)]), shown, clipped)


def _moment_facts(moment: Moment) -> dict[str, Any]:
    facts: dict[str, Any] = {"at": format_time(moment.at), "what": str(moment.what), "reason": moment.reason}
    facts |= {"node": moment.node, "message": moment.message, "version": moment.version}
    facts |= {"frozenSeconds": moment.frozen_s, "warning": moment.warning}
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _of_workload(obj: Object) -> list[Moment]:
    meta, spec, status = section(obj, "metadata"), section(obj, "spec"), section(obj, "status")
    found: list[Moment] = []
    if (at := _time(meta.get("creationTimestamp"))) is not None:
        found.append(Moment(at, What.SELECTED, "", "Selected", f"policy {spec.get('policy')} selected it"))
    start, container = section(status, "lastStart"), section(status, "container")
    starts = [*(status.get("starts") or ()), start]
    # The last one is among the past ones as well, unless it is of before these were kept.
    for told in {item.get("at"): item for item in starts}.values():
        if (at := _time(told.get("at"))) is not None:
            found.append(_of_start(told, at))
    seen = _time(container.get("startedAt"))
    if seen is not None and container.get("taskID") != start.get("taskID"):
        node = section(status, "claim").get("node") or ""
        found.append(Moment(seen, What.ADOPTED, node, "Adopted", "its container ran already and is protected now"))
    end = section(status, "lastEnd")
    if (at := _time(end.get("at"))) is not None:
        found.append(_of_end(end, at))
    failure = section(status, "lastFailure")
    if (at := _time(failure.get("at"))) is not None:
        row = f" ({failure['consecutive']} in a row)" if failure.get("consecutive", 1) > 1 else ""
        node, reason = section(status, "claim").get("node") or "", str(failure.get("reason", ""))
        found.append(Moment(at, What.FAILED, node, reason, f"{failure.get('message', '')}{row}", warning=True))
    return found


def _of_start(start: Object, at: datetime) -> Moment:
    restored = start.get("how") == "Restored"
    version, message = start.get("version"), str(start.get("message") or "")
    if restored:
        took = f" in {start['seconds']:.2f} s" if start.get("seconds") is not None else ""
        message = f"from version {version}{took} after {start.get('reason')}" + (f": {message}" if message else "")
    reason = str(start.get("reason") or "")
    failed = start.get("order") is not None and start.get("obeyed") is not True
    return Moment(
        at, What.RESTORED if restored else What.FRESH, start.get("node") or "", reason, message, version, warning=failed
    )


def _of_end(end: Object, at: datetime) -> Moment:
    words = [str(end.get("how"))]
    if end.get("exitCode") is not None:
        words.append(f"with exit code {end['exitCode']}")
    if end.get("finalVersion") is not None:
        words.append(f"leaving version {end['finalVersion']}")
    bad = end.get("how") in ("Crashed", "OutOfMemory", "NodeLoss", "Killed")
    return Moment(at, What.ENDED, "", words[0], " ".join(words), end.get("finalVersion"), warning=bad)


def _of_checkpoints(objects: Iterable[Object]) -> list[Moment]:
    found = []
    for obj in objects:
        spec, status = section(obj, "spec"), section(obj, "status")
        node, reason = status.get("node") or "", str(spec.get("reason") or "OnDemand")
        if status.get("phase") == "Failed":
            at = _time(status.get("startedAt")) or _time(section(obj, "metadata").get("creationTimestamp"))
            if at is not None:
                message = str(status.get("message") or "no reason given")
                found.append(Moment(at, What.FAILED, node, reason, message, warning=True))
        elif (at := _time(status.get("takenAt"))) is not None:
            notes = [f"version {status.get('version', '?')}"]
            notes += ["pinned"] if spec.get("pinned") else []
            notes += [f"phase {status['phase']}"] if status.get("phase") not in ("Stored", None) else []
            frozen = status.get("frozenSeconds")
            found.append(Moment(at, What.VERSION, node, reason, ", ".join(notes), status.get("version"), frozen))
    return found


_TOLD = {
    "Restored": What.RESTORED,
    "ColdStart": What.FRESH,
    "Fenced": What.FENCED,
    "Unfenced": What.UNFENCED,
}


def _of_events(objects: Iterable[Object]) -> list[Moment]:
    found = []
    for obj in objects:
        source = section(obj, "source")
        at = _time(
            obj.get("lastTimestamp") or obj.get("eventTime") or section(obj, "metadata").get("creationTimestamp")
        )
        if at is None:
            continue
        by_agent = (source.get("component") or obj.get("reportingComponent")) == AGENT
        node = str(source.get("host") or obj.get("reportingInstance") or "") if by_agent else ""
        reason, message = str(obj.get("reason") or ""), str(obj.get("message") or "").strip()
        count = int(obj.get("count") or 1)
        if count > 1:
            first = _time(obj.get("firstTimestamp"))
            message += f" ({count} times" + (f" since {format_time(first)})" if first else ")")
        what = _TOLD.get(reason, What.EVENT) if by_agent else What.EVENT
        found.append(Moment(at, what, node, reason, message, warning=obj.get("type") == "Warning"))
    return found


def _same(told: Moment, fact: Moment) -> bool:
    """Whether the event `told` says what an object says better."""
    if told.what in (What.RESTORED, What.FRESH):
        return fact.what is told.what and fact.node == told.node and abs(fact.at - told.at) <= SAME
    if told.reason == "FinalVersion":
        late = told.at - fact.at
        return (
            fact.what is What.VERSION
            and fact.reason == "Final"
            and fact.node == told.node
            and -SAME <= late <= FINAL_TOLD
        )
    return fact.what is What.FAILED and told.message == fact.message and abs(told.at - fact.at) <= FINAL_TOLD


_SIGHTINGS = frozenset({What.ADOPTED, What.FRESH, What.RESTORED, What.VERSION, What.UNFENCED})
"""What shows that it ran on the moment's node."""
_ENDS_FIRST = {What.ENDED: 0, What.MOVED: 1}


def _order(moment: Moment) -> tuple[datetime, int, int]:
    return moment.at, _ENDS_FIRST.get(moment.what, 2), moment.version or 0


def _place_ends(moments: Sequence[Moment]) -> list[Moment]:
    """The status does not say where it ended: where it was seen last before."""
    placed, node = [], ""
    for moment in moments:
        if moment.what in _SIGHTINGS and moment.node:
            node = moment.node
        placed.append(replace(moment, node=node) if moment.what is What.ENDED and not moment.node else moment)
    return placed


def _moves(moments: Sequence[Moment]) -> list[Moment]:
    found: list[Moment] = []
    last: Moment | None = None
    for moment in moments:
        if moment.what not in _SIGHTINGS or not moment.node:
            continue
        if last is not None and last.node != moment.node:
            message = f"from {last.node} to {moment.node}"
            if moment.what not in (What.RESTORED, What.FRESH):
                # Nobody remembers the start itself: it was before this, and after the last sign from the other node.
                message += f", at some time after {format_time(last.at.replace(microsecond=0))}"
            found.append(Moment(moment.at, What.MOVED, moment.node, "Moved", message))
        last = moment
    return found


def _stays(moments: Sequence[Moment], workload: Object, now: datetime) -> list[Stay]:
    """Where it ran, as far as moments show; the last stretch goes up to `now` when the claim says so."""
    status = section(workload, "status")
    holder = section(status, "claim").get("node") or ""
    stays: list[Stay] = []
    current: Stay | None = None
    for moment in moments:
        if moment.what is What.ENDED:
            if current is not None:
                stays.append(replace(current, end=moment.at))
            current = None
        elif moment.what in _SIGHTINGS and moment.node:
            begins = moment.what in (What.RESTORED, What.FRESH) or current is None or current.node != moment.node
            if begins and current is not None:
                stays.append(current)
            current = Stay(moment.node, moment.at, moment.at) if begins or current is None else current
            current = replace(current, end=moment.at)
            if moment.reason == "Final" and moment.what is What.VERSION:
                # Its processes ended with the dump.
                stays.append(current)
                current = None
    if current is not None:
        runs = current.node == holder and status.get("phase") in ("Running", "Fenced")
        stays.append(replace(current, end=max(now, current.end)) if runs else current)
    return stays


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value)
    except InvalidObject:
        return None
