"""`hack/bench store`: what versions cost in storage, processor and memory, and how fast they come back."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from blake3 import blake3
from zstandard import ZstdCompressor

from benchmarks.peers import SHORT_VALUE_BYTES, VALUE_BYTES, Peer, Taken, change, keys_of
from benchmarks.plot import bars
from benchmarks.report import Goal, Row, is_promised
from benchmarks.scene import Scene
from benchmarks.swarmkeep import SERVICE
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository
from swarmlab.process import LabError

SETS = 100_000
SHORT, WHOLE = f"{SETS // 1000}k short SETs", f"{SETS // 1000}k whole SETs"
STEPS = {"first": 0, "idle": 0, SHORT: SHORT_VALUE_BYTES, WHOLE: VALUE_BYTES}
"""Versions in their order, and how long the values are that are written before."""
PAGE_BYTES = 4096
BLOCK_PAGES = 256
"""Changed pages are compressed a MiB at a time, at zstd's own default level."""


@dataclass(slots=True)
class Stored:
    """One peer at one size."""

    peer: str
    megabytes: int
    versions: dict[str, Taken] = field(default_factory=dict)
    silences: dict[str, float] = field(default_factory=dict)
    """How long a client saw it stand still, in seconds."""
    restore_s: float | None = None
    """Until a client was answered again, with every key there; None: cannot restore, or was not tried."""
    series: list[Taken] = field(default_factory=list)
    """Versions under load, for SwarmKeep alone."""
    changed_bytes: int = 0
    """Pages of the series that were in no version before it, compressed."""


def measure_stores(scene: Scene, sizes: Sequence[int], series: int, found: list[Stored]) -> None:
    """For each size: versions in turns, then the series, then the restores. Adds to `found`."""
    for megabytes in sizes:
        with scene.running(megabytes):
            results = [Stored(peer.name, megabytes) for peer in scene.peers]
            found += results
            for step, value_bytes in STEPS.items():
                for peer, result in zip(scene.peers, results, strict=True):
                    if value_bytes:
                        change(peer.redis, megabytes, SETS, value_bytes, seed=len(result.versions))
                    with scene.pinger(peer) as client:
                        client.longest_silence()
                        taken = result.versions[step] = peer.take()
                        result.silences[step] = client.longest_silence()
                    told = (
                        f"{taken.stored_bytes / 1e6:.2f} MB, {taken.cpu_s:.2f} s, still {result.silences[step]:.3f} s"
                    )
                    _tell(megabytes, f"{step}, {peer.name}: {told}")
            _take_series(scene, scene.peers[0], results[0], series)
            for peer, result in zip(scene.peers, results, strict=True):
                result.restore_s = _restore(scene, peer, megabytes)
                _tell(megabytes, f"restore, {peer.name}: {result.restore_s or float('nan'):.2f} s")


def _tell(megabytes: int, text: str) -> None:
    print(f"{megabytes} MB {text}", file=sys.stderr, flush=True)


def _take_series(scene: Scene, peer: Peer, result: Stored, count: int) -> None:
    if not count:
        return
    location = scene.lab.settings.shared / "swarmkeep"
    before = _newest(location)
    with scene.load(peer, result.megabytes):
        for number in range(count):
            taken = peer.take()
            result.series.append(taken)
            _tell(result.megabytes, f"under load {number + 1}/{count}: {taken.stored_bytes / 1e6:.2f} MB")
    result.changed_bytes = changed_bytes(location, before)


def _newest(location: Path) -> int:
    return max(_open(location).versions(f"default/{SERVICE}.1"))


def _open(location: Path) -> Repository:
    return Repository.open(LocalBlobStore(location), create=False)


def changed_bytes(location: Path, first: int) -> int:
    """What really changed in the versions after `first`: pages that the version before did not have, compressed."""
    repository = _open(location)
    workload = f"default/{SERVICE}.1"
    total, known = 0, set[bytes]()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=location.parent) as scratch:
        for version in (number for number in repository.versions(workload) if number >= first):
            folder = Path(scratch, "version")
            repository.get(workload, version, folder, durable=False)
            pages: dict[bytes, int] = {}
            fresh: list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]] = []
            for image in sorted((folder / "image").glob("pages-*.img")):
                words = np.memmap(image, np.uint8, "r").reshape(-1, PAGE_BYTES)
                digests = [blake3(words[number]).digest() for number in range(len(words))]
                added = [number for number, digest in enumerate(digests) if digest not in known]
                pages.update(zip(digests, range(len(digests)), strict=True))
                fresh.append(words[added])
            if known:
                total += sum(_compressed(words) for words in fresh)
            known = set(pages)
    return total


def _compressed(words: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> int:
    compressor = ZstdCompressor()
    return sum(
        len(compressor.compress(words[start : start + BLOCK_PAGES].tobytes()))
        for start in range(0, len(words), BLOCK_PAGES)
    )


def _restore(scene: Scene, peer: Peer, megabytes: int) -> float | None:
    # A version of its own, with no client connected.
    peer.take()
    keys = peer.redis("DBSIZE")
    restored = peer.restore()
    if restored is None:
        return None
    with scene.pinger_at(restored.address):
        seconds = time.time() - restored.begun
    if peer.redis("DBSIZE") != keys or int(keys) < keys_of(megabytes):
        raise LabError(f"{peer.name} came back with {peer.redis('DBSIZE')} of {keys} keys")
    return seconds


def store_rows(found: Sequence[Stored]) -> list[Row]:
    """One row for each size, peer and kind of version."""
    rows: list[Row] = []
    for result in found:
        steps = dict(result.versions)
        if result.series:
            steps[f"{len(result.series)} under load, mean"] = _mean(result.series)
        for step, taken in steps.items():
            rows.append(
                {
                    "size": f"{result.megabytes} MB",
                    "peer": result.peer,
                    "version": step,
                    "stored": f"{taken.stored_bytes / 1e6:,.3f} MB",
                    "safe": f"{taken.safe_s:.2f} s",
                    "core": f"{taken.cpu_s:.2f} s",
                    "memory": f"{taken.memory_bytes / 1e6:.0f} MB",
                    "client": f"{result.silences[step]:.3f} s" if step in result.silences else "",
                    "restore": _restore_cell(result) if step == "first" else "",
                }
            )
    return rows


def _restore_cell(result: Stored) -> str:
    return "-" if result.restore_s is None else f"{result.restore_s:.2f} s"


def _mean(series: Sequence[Taken]) -> Taken:
    count = len(series)
    return Taken(
        sum(taken.safe_s for taken in series) / count,
        sum(taken.stored_bytes for taken in series) // count,
        sum(taken.cpu_s for taken in series) / count,
        max(taken.memory_bytes for taken in series),
        None,
    )


def store_goals(found: Sequence[Stored]) -> list[Goal]:
    """What SwarmKeep promises of storage for 750 MB, held against this run."""
    goals = []
    for result in found:
        if result.peer != "SwarmKeep" or not is_promised(result.megabytes):
            continue
        if len(result.versions) < len(STEPS):
            continue
        first, idle, short, whole = (result.versions[step] for step in STEPS)
        goals += [
            Goal("idle version, KB stored", idle.stored_bytes / 1e3, 200),
            Goal("idle version, seconds of a core", idle.cpu_s, 1.0),
            Goal(f"after {SETS:,} SETs of short values, MB stored", short.stored_bytes / 1e6, 8),
        ]
        every = [first, idle, short, whole, *result.series]
        goals.append(Goal("agent's memory above idle, MB", max(taken.memory_bytes for taken in every) / 1e6, 200))
        if result.changed_bytes:
            archive = next(
                other.versions["first"].stored_bytes
                for other in found
                if (other.peer, other.megabytes) == ("podman zstd", result.megabytes)
            )
            total = first.stored_bytes + sum(taken.stored_bytes for taken in result.series)
            share = total / (archive + result.changed_bytes)
            goals.append(
                Goal(
                    f"first and {len(result.series)} under load, against a podman zstd archive and changes", share, 1.5
                )
            )
    return goals


def store_json(found: Sequence[Stored]) -> list[dict[str, object]]:
    """Everything that was measured."""
    return [asdict(result) for result in found]


def store_plot(found: Sequence[Stored]) -> str:
    """Bytes for each version."""
    groups: dict[str, dict[str, float]] = {}
    for result in found:
        for step, taken in result.versions.items():
            groups.setdefault(f"{result.megabytes} MB, {step}", {})[result.peer] = taken.stored_bytes / 1e6
    return bars("What one version takes in storage", "MB", groups)
