"""Who is compared: the port that all have, and a Redis with a known amount of memory that all are given."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from swarmlab.node import Node

VALUE_BYTES = 560
SHORT_VALUE_BYTES = 3
"""What redis-benchmark writes by default."""
MEMORY_OF_A_KEY = 722
"""Bytes that Redis needs for one key with its value, so that sizes are those of the images."""

_FILL = (
    "local pad = string.rep('x', tonumber(ARGV[3])) for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do "
    "redis.call('SET', string.format('key:%012d', i), i .. pad) end"
)
_CHANGE = (
    "local pad = string.rep('y', tonumber(ARGV[3])) math.randomseed(tonumber(ARGV[4])) for i = 1, tonumber(ARGV[2]) do "
    "redis.call('SET', string.format('key:%012d', math.random(0, tonumber(ARGV[1]) - 1)), i .. pad) end"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """One version, taken and safe."""

    safe_s: float
    """Until everything was on the disk."""
    stored_bytes: int
    """What was written to storage for it."""
    cpu_s: float
    memory_bytes: int
    """Above idle: of the daemons, or of the largest process where there is no daemon."""
    criu_s: float | None
    """How long the processes stood still, by CRIU's own figures; None when they cannot be had."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that has begun and may not answer yet."""

    begun: float
    """Seconds since the epoch."""
    address: str


class Peer(Protocol):
    """One way to take versions of a container. Every method raises LabError."""

    name: str

    def start(self, megabytes: int) -> None:
        """Runs a Redis of that size; nothing happens when it runs already."""

    def address(self) -> str:
        """Where the node reaches it."""

    def redis(self, *words: str) -> str:
        """`redis-cli` in the container."""

    def take(self) -> Taken:
        """Takes a version; the container runs on."""

    def restore(self) -> Restored | None:
        """Kills the container and brings it back from the newest version; None when this peer cannot."""

    def remove(self) -> None:
        """Removes the container and what was stored of it."""


def keys_of(megabytes: int) -> int:
    """How many keys make a Redis of that size."""
    return megabytes * 1_000_000 // MEMORY_OF_A_KEY


def fill(redis: Callable[..., str], megabytes: int) -> None:
    """Fills a Redis; the keys are those that redis-benchmark writes to."""
    keys, step = keys_of(megabytes), 100_000
    for first in range(0, keys, step):
        redis("EVAL", _FILL, "0", str(first), str(min(first + step, keys) - 1), str(VALUE_BYTES))


def change(redis: Callable[..., str], megabytes: int, sets: int, value_bytes: int, seed: int) -> None:
    """So many SETs of random keys."""
    redis("EVAL", _CHANGE, "0", str(keys_of(megabytes)), str(sets), str(value_bytes), str(seed))


def sync_files(node: Node, folder: str, pattern: str) -> list[str]:
    """The words that bring every file to the disk, as a version that counts as safe must be."""
    program = (
        "import os, pathlib, sys\n"
        "for path in pathlib.Path(sys.argv[1]).rglob(sys.argv[2]):\n"
        "    if path.is_file(): os.fsync(os.open(path, os.O_RDONLY))"
    )
    return [*node.entering(), "python3", "-I", "-S", "-c", program, folder, pattern]


def inspect(node: Node, command: Sequence[str]) -> dict[str, object]:
    """The first object of a command that prints a JSON list."""
    found: dict[str, object] = json.loads(node.execute(command).stdout)[0]
    return found
