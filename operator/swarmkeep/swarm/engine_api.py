"""Reads the Engine API's JSON into our nouns. Pure.

Source of the fields: Docker Engine API 1.41 to 1.51, definitions Node, Service and Task.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from swarmkeep.model.swarm import Mode, Service, SwarmNode, Task

Json = Mapping[str, Any]


def read_node(raw: Json) -> SwarmNode:
    """One item of GET /nodes."""
    spec, status = raw.get("Spec") or {}, raw.get("Status") or {}
    description = raw.get("Description") or {}
    return SwarmNode(
        id=raw["ID"],
        hostname=description.get("Hostname") or "",
        ready=status.get("State") == "ready",
        availability=spec.get("Availability") or "active",
        manager=spec.get("Role") == "manager",
        address=status.get("Addr") or "",
        labels=dict(spec.get("Labels") or {}),
    )


def read_service(raw: Json) -> Service:
    """One item of GET /services."""
    spec = raw["Spec"]
    template = spec.get("TaskTemplate") or {}
    container = template.get("ContainerSpec") or {}
    placement = template.get("Placement") or {}
    mode, replicas = _mode(spec.get("Mode") or {})
    return Service(
        id=raw["ID"],
        name=spec["Name"],
        mode=mode,
        replicas=replicas,
        image=container.get("Image") or "",
        force_update=template.get("ForceUpdate") or 0,
        created_at=_time(raw.get("CreatedAt")),
        labels=dict(spec.get("Labels") or {}),
        container_labels=dict(container.get("Labels") or {}),
        restarts=(template.get("RestartPolicy") or {}).get("Condition") != "none",
        constraints=tuple(placement.get("Constraints") or ()),
        version=(raw.get("Version") or {}).get("Index") or 0,
        update_state=(raw.get("UpdateStatus") or {}).get("State") or "",
        start_first=(spec.get("UpdateConfig") or {}).get("Order") == "start-first",
        spreads=bool(placement.get("Preferences")),
        most_per_node=placement.get("MaxReplicas") or 0,
    )


def read_task(raw: Json) -> Task:
    """One item of GET /tasks."""
    status = raw.get("Status") or {}
    return Task(
        id=raw["ID"],
        service_id=raw.get("ServiceID") or "",
        slot=raw.get("Slot") or None,
        node_id=raw.get("NodeID") or "",
        state=status.get("State") or "new",
        desired_state=raw.get("DesiredState") or "",
        container_id=(status.get("ContainerStatus") or {}).get("ContainerID") or "",
        message=status.get("Err") or status.get("Message") or "",
        created_at=_time(raw.get("CreatedAt")),
        state_since=_time(status.get("Timestamp")),
    )


def _mode(raw: Json) -> tuple[Mode, int]:
    if "Replicated" in raw:
        # Docker leaves the number out of an object that was written without one; it then means 1.
        replicas = (raw["Replicated"] or {}).get("Replicas")
        return Mode.REPLICATED, 1 if replicas is None else replicas
    if "Global" in raw:
        return Mode.GLOBAL, 0
    return Mode.JOB, 0


def _time(text: Any) -> datetime | None:
    """Docker's times have up to nine digits behind the second; a zero time means that there is none."""
    if not isinstance(text, str) or text.startswith("0001-"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None
