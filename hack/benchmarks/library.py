"""`hack/bench library`: the checkpoint store alone, on a made-up image like that of a Redis.

Figures are of one process; "core" is its processor time, which other work on the machine disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Goal, write_json
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

PAGE = 4096
WORKLOAD = "bench/redis.1"


def in_child(work: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Runs `work` in a process of its own; adds seconds, processor seconds, and the memory that it took above idle."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, core = time.perf_counter(), time.process_time()
        try:
            result = work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        result["seconds"] = time.perf_counter() - begun
        result["core"] = time.process_time() - core
        result["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) * 1024
        os.write(writer, json.dumps(result).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    if not content:
        raise SystemExit("the measurement failed, see above")
    result = json.loads(content)
    assert isinstance(result, dict)
    return result


def make_page(source: random.Random) -> bytes:
    """A page that zstd makes about ten times smaller, and that is like no other."""
    value = source.randbytes(150).hex().encode()
    return (value + b'{"session":"active","visits":12,"cart":[]}' * 100)[:PAGE]


def make_image(folder: Path, pages: int) -> None:
    """A checkpoint's folder: memory, a tenth of it zeros, and some small files."""
    folder.mkdir()
    source = random.Random(1)  # noqa: S311
    with (folder / "pages-1.img").open("wb") as file:
        for page in range(pages):
            file.write(bytes(PAGE) if page % 10 == 0 else make_page(source))
    for number in range(12):
        (folder / f"core-{number}.img").write_bytes(source.randbytes(800))


def change(folder: Path, count: int, seed: int) -> None:
    """Writes to so many random pages."""
    source = random.Random(seed)  # noqa: S311
    image = folder / "pages-1.img"
    pages = image.stat().st_size // PAGE
    with image.open("r+b") as file:
        for page in source.sample(range(pages), count):
            file.seek(page * PAGE)
            file.write(make_page(source))


def move(folder: Path) -> None:
    """Three new pages in front: every other page moves."""
    image = folder / "pages-1.img"
    moved = folder / "moved"
    source = random.Random(2)  # noqa: S311
    with image.open("rb") as old, moved.open("wb") as new:
        for _ in range(3):
            new.write(make_page(source))
        shutil.copyfileobj(old, new, 1 << 20)
    moved.rename(image)


def report(samples: list[Mapping[str, object]], name: str, size: int, found: dict[str, float]) -> None:
    """Prints one line, and keeps it."""
    samples.append({"name": name, "bytes": size, **found})
    stored = f"{found['stored'] / 1e3:12,.0f} KB" if "stored" in found else " " * 15
    print(
        f"{name:34s}{size / found['seconds'] / 1e9:8.2f}{size / found['core'] / 1e9:8.2f}"
        f"{found['seconds']:9.2f}{found['core']:9.2f}{stored}{found['memory'] / 1e6:9.0f} MB",
        flush=True,
    )


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_library(arguments: argparse.Namespace) -> None:
    """Prints a line for each step and what was promised; writes JSON when asked for."""
    samples: list[Mapping[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="swarmkeep-bench-", dir=arguments.folder) as scratch:
        location, image, back = Path(scratch, "location"), Path(scratch, "image"), Path(scratch, "back")
        location.mkdir()
        Repository.open(LocalBlobStore(location), create=True)

        def put(name: str, version: int, source: Path) -> float:
            def work() -> dict[str, float]:
                repository = Repository.open(LocalBlobStore(location), create=False)
                return {"stored": repository.put(WORKLOAD, version, source, {}).stored_bytes}

            found = in_child(work)
            report(samples, name, folder_bytes(source), found)
            return found["stored"]

        def get(name: str, version: int) -> None:
            def work() -> dict[str, float]:
                repository = Repository.open(LocalBlobStore(location), create=False)
                return {"size": repository.get(WORKLOAD, version, back, durable=False).logical_bytes}

            found = in_child(work)
            report(samples, name, int(found["size"]), found)

        print(f"{'':34s}{'GB/s':>8s}{'core':>8s}{'seconds':>9s}{'core':>9s}{'stored':>15s}{'memory':>12s}")
        if arguments.image:
            for version, source in enumerate(arguments.image, 1):
                put(f"put {source.name}", version, source)
            for version, source in enumerate(arguments.image, 1):
                get(f"get {source.name}", version)
            return
        pages = arguments.megabytes * 1_000_000 // PAGE
        make_image(image, pages)
        first = put("put first version", 1, image)
        put("put unchanged", 2, image)
        change(image, 53, 3)
        put("put idle (53 pages changed)", 3, image)
        busy = pages * 57 // 1000
        change(image, busy, 4)
        put(f"put busy ({busy} pages changed)", 4, image)
        move(image)
        put("put moved (3 pages inserted)", 5, image)
        get("get first version", 1)
        get("get moved", 5)
        changed = first
        for version in range(6, 6 + arguments.versions):
            change(image, busy, version)
            changed += put(f"put busy, version {version}", version, image)
        if arguments.versions:
            get("get newest", 5 + arguments.versions)
            print(f"{arguments.versions} busy versions take {changed / first:.1f} times what the first one takes")
    goals = library_goals(samples)
    print()
    for goal in goals:
        print(goal)
    if arguments.output:
        write_json(arguments.output / "library.json", "library", samples, goals)


def library_goals(samples: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """What the store promises, held against this run."""

    def speed(name: str) -> float:
        sample = next(sample for sample in samples if sample["name"] == name)
        return float(sample["bytes"] / sample["core"] / 1e9)

    return [
        Goal("put unchanged, GB for each second of a core", speed("put unchanged"), 1.0, at_least=True),
        Goal("get, GB for each second of a core", speed("get first version"), 0.8, at_least=True),
        Goal("memory, MB", max(sample["memory"] for sample in samples) / 1e6, 200),
    ]
