"""`hack/bench freeze`: how long a container stands still for a version, side by side."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.peers import Peer
from benchmarks.plot import bars
from benchmarks.report import Goal, Row, is_promised, ratio
from benchmarks.scene import Scene

PEERS = 4


@dataclass(frozen=True, slots=True)
class Frozen:
    """One version, as its container's client saw it."""

    peer: str
    megabytes: int
    load: str
    client_s: float
    """The longest silence while it was taken."""
    criu_s: float | None
    safe_s: float
    stored_bytes: int
    cpu_s: float
    memory_bytes: int


def measure_freezes(scene: Scene, sizes: Sequence[int], repeat: int, found: list[Frozen]) -> None:
    """Adds to `found`. Peers take turns, so that what else this machine does disturbs all of them alike."""
    for megabytes in sizes:
        with scene.running(megabytes):
            for load in ("idle", "busy"):
                for turn in range(repeat):
                    for peer in scene.peers:
                        sample = _one(scene, peer, megabytes, load)
                        found.append(sample)
                        print(
                            f"{megabytes} MB {load} {turn + 1}/{repeat} {peer.name}: {sample.client_s:.3f} s"
                            f" (CRIU {sample.criu_s or float('nan'):.3f})",
                            file=sys.stderr,
                            flush=True,
                        )


def _one(scene: Scene, peer: Peer, megabytes: int, load: str) -> Frozen:
    with _load(scene, peer, megabytes, load), scene.pinger(peer) as client:
        client.longest_silence()
        taken = peer.take()
        return Frozen(
            peer.name,
            megabytes,
            load,
            client.longest_silence(),
            taken.criu_s,
            taken.safe_s,
            taken.stored_bytes,
            taken.cpu_s,
            taken.memory_bytes,
        )


@contextlib.contextmanager
def _load(scene: Scene, peer: Peer, megabytes: int, load: str) -> Iterator[None]:
    if load == "busy":
        with scene.load(peer, megabytes):
            yield
    else:
        yield


def freeze_rows(samples: Sequence[Frozen]) -> list[Row]:
    """Medians by size, load and peer."""
    groups: dict[tuple[int, str, str], list[Frozen]] = {}
    for sample in samples:
        groups.setdefault((sample.megabytes, sample.load, sample.peer), []).append(sample)
    return [
        {
            "size": f"{megabytes} MB",
            "load": load,
            "peer": peer,
            "client": f"{median(s.client_s for s in group):.3f} s",
            "worst": f"{max(s.client_s for s in group):.3f} s",
            "CRIU": _seconds([s.criu_s for s in group]),
            "safe": f"{median(s.safe_s for s in group):.2f} s",
            "stored": f"{median(s.stored_bytes for s in group) / 1e6:,.2f} MB",
            "core": f"{median(s.cpu_s for s in group):.2f} s",
            "memory": f"{max(s.memory_bytes for s in group) / 1e6:.0f} MB",
        }
        for (megabytes, load, peer), group in groups.items()
    ]


def freeze_goals(samples: Sequence[Frozen]) -> list[Goal]:
    """What SwarmKeep promises of the frozen time for 750 MB, held against this run."""
    goals = []
    for megabytes in sorted({sample.megabytes for sample in samples if is_promised(sample.megabytes)}):
        for load in ("idle", "busy"):
            typical = {
                name: median(chosen)
                for name in {sample.peer for sample in samples}
                if (chosen := [s.client_s for s in samples if (s.peer, s.megabytes, s.load) == (name, megabytes, load)])
            }
            if len(typical) < PEERS:
                continue
            own = typical["SwarmKeep"]
            podman = min(typical["podman"], typical["podman zstd"])
            where = f"{megabytes} MB, {load}"
            goals.append(ratio(f"frozen against podman ({where})", own, podman, 0.5))
            goals.append(ratio(f"frozen against docker checkpoint ({where})", own, typical["docker checkpoint"], 0.1))
    return goals


def freeze_plot(samples: Sequence[Frozen]) -> str:
    """What a client sees."""
    groups: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        group = groups.setdefault(f"{sample.megabytes} MB, {sample.load}", {})
        group.setdefault(sample.peer, []).append(sample.client_s)
    medians = {name: {peer: median(values) for peer, values in group.items()} for name, group in groups.items()}
    return bars("How long a client sees Redis stand still for one version (median)", "s", medians)


def as_json(samples: Sequence[Frozen]) -> list[dict[str, object]]:
    """Every sample."""
    return [asdict(sample) for sample in samples]


def _seconds(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.3f} s" if known else "-"
