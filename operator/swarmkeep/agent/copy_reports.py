"""Says on the Checkpoint objects which locations have a version. Used by the copier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from swarmkeep.errors import Conflict, Forbidden, InvalidObject, NotFound, Unavailable
from swarmkeep.kube.client import Client, Obj
from swarmkeep.model.checkpoint import CheckpointPhase, CopyState, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_WORKLOAD
from swarmkeep.model.wire import format_time

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one location has of one version. Time and bytes are known to whoever has just copied it."""

    location: str
    state: CopyState
    stored_at: datetime | None = None
    bytes: int | None = None
    message: str = ""

    def wire(self) -> dict[str, Any]:
        """As one of `status.locations`."""
        fields = {
            "name": self.location,
            "state": str(self.state),
            "storedAt": format_time(self.stored_at) if self.stored_at else None,
            "bytes": self.bytes,
            "message": self.message or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class CopyReports:
    """Writes only objects of this node, only where they differ, and never over somebody else's change."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._told: dict[tuple[Ref, str], dict[int, Entry]] = {}

    def forget(self) -> None:
        """Looks at all objects again at the next report, whatever was told before."""
        self._told.clear()

    async def tell(self, workload: Ref, entries: Mapping[int, Entry]) -> frozenset[int]:
        """Brings the objects of these versions in line; returns the versions of which that has to be tried again.

        The object of one that is very young may not be there yet.
        """
        location = next((entry.location for entry in entries.values()), "")
        told = self._told.get((workload, location), {})
        news = {
            number: entry
            for number, entry in entries.items()
            if number not in told or (told[number].state, told[number].message) != (entry.state, entry.message)
        }
        if not news:
            return frozenset()
        try:
            listed = await self._client.list(CHECKPOINT, workload.namespace, labels=f"{LABEL_WORKLOAD}={workload.name}")
            done = {number: entry for number, entry in told.items() if number in entries}
            for obj in listed.items:
                number = parse_checkpoint(obj).version
                if number in news:
                    await self._write(obj, news[number])
                    done[number] = news[number]
        except (Unavailable, Conflict) as error:
            log.info("could not report copies", workload=str(workload), error=str(error))
            return frozenset(news)
        self._told[workload, location] = done
        return frozenset(news.keys() - done.keys())

    async def _write(self, obj: Obj, entry: Entry) -> None:
        item = parse_checkpoint(obj)
        if item.deleting or not item.finished or item.node != self._node:
            return
        status = with_entry(obj["status"], entry, datetime.now(UTC))
        if status is None:
            return
        patch = {"metadata": {"resourceVersion": item.resource_version}, "status": status}
        try:
            await self._client.patch(CHECKPOINT, item.ref.name, patch, item.ref.namespace, subresource="status")
        except (NotFound, Forbidden, InvalidObject) as error:
            log.info("a checkpoint object changed hands", checkpoint=str(item.ref), error=str(error))


def with_entry(status: Mapping[str, Any], entry: Entry, now: datetime) -> dict[str, Any] | None:
    """What to change in a Checkpoint's status so that it says this of a location; None when it does already. Pure."""
    listed = list(status.get("locations") or ())
    if not listed:
        listed = [{"name": status.get("location", ""), "state": str(CopyState.STORED)}]
    known = next((item for item in listed if item["name"] == entry.location), None)
    wire = entry.wire()
    if entry.state is CopyState.STORED and "storedAt" not in wire:
        if known is not None and known["state"] == entry.state:
            return None
        # Another node, or an earlier life, has copied it.
        wire["storedAt"] = format_time(now)
    if known == wire:
        return None
    changed = [wire if item["name"] == entry.location else item for item in listed]
    if known is None:
        changed.append(wire)
    whole = all(item["state"] == CopyState.STORED for item in changed)
    phase = CheckpointPhase.REPLICATED if whole else CheckpointPhase.STORED
    return {"locations": changed, "phase": str(phase)}
