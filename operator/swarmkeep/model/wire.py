"""Reading and writing the scalar forms that API objects use on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from swarmkeep.errors import InvalidObject

Object = Mapping[str, Any]
"""An API object as decoded JSON."""


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond when there is a fraction: what Kubernetes calls date-time."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """An RFC 3339 time, aware, in UTC. Raises InvalidObject."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise InvalidObject(f"{text!r} is no time: write it as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise InvalidObject(f"{text!r} has no time zone: write it as 2026-01-31T12:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidObject(f"{text!r} is before or after all time that can be told") from None


def optional_time(value: Any) -> datetime | None:
    """`parse_time`, or None when the field is absent."""
    return None if value is None else parse_time(value)


def section(obj: Object, *path: str) -> Mapping[str, Any]:
    """The object at `path`, or an empty one when any step is absent or null."""
    current: Any = obj
    for step in path:
        current = (current or {}).get(step)
    return current or {}
