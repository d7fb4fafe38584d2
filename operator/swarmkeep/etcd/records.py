"""What goes to etcd and what comes back: plain values, so that nobody else sees protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as it was at `mod_revision`."""

    key: str
    value: bytes
    create_revision: int
    """Revision at which the key came to be; it changes when the key is deleted and made again."""
    mod_revision: int
    lease: int = 0
    """Id of the lease that the key goes with; 0 for none."""


@dataclass(frozen=True, slots=True)
class RangeResult:
    """Keys in order, as they were at one revision."""

    items: tuple[KeyValue, ...]
    revision: int
    """The store's revision when it answered; not the revision that was asked for."""
    count: int
    """How many keys there are in all, however few were asked for."""
    more: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction. A key that does not exist has revision 0."""

    key: str
    target: Literal["mod", "create"]
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a key."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes one key."""

    key: str


@dataclass(frozen=True, slots=True)
class Get:
    """Reads one key."""

    key: str


Operation = Put | Delete | Get


@dataclass(frozen=True, slots=True)
class TxnResult:
    """How a transaction went."""

    succeeded: bool
    """Whether all compares held."""
    revision: int
    """The store's revision after it; the mod_revision of what it wrote."""
    answers: tuple[KeyValue | None, ...]
    """For each operation of the branch that was taken what a Get found; None for the others."""
    repeated: bool = False
    """An earlier try may have been carried out although no answer came: a failed compare may be our own doing."""


class EventType(StrEnum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. For a deletion `current` has no value and the deletion's revision."""

    type: EventType
    current: KeyValue
    previous: KeyValue | None
    """The key before the change; None if it did not exist, or if it was not asked for."""


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with `prefix`, as etcd wants a range's end."""
    raw = prefix.encode()
    for index in range(len(raw) - 1, -1, -1):
        if raw[index] < 0xFF:
            return raw[:index] + bytes([raw[index] + 1])
    return b"\x00"
