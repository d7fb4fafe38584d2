"""What benchmarks compute from what they measure: a wrong sum here would be a wrong promise in the documentation."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.freeze import Frozen, freeze_goals, freeze_rows
from benchmarks.plot import bars
from benchmarks.report import Goal, table
from benchmarks.store import PAGE_BYTES, changed_bytes
from benchmarks.swarmkeep import SERVICE
from benchmarks.usage import measured, run_measured
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository
from swarmlab.process import LabError


def test_changed_pages_are_those_that_the_version_before_did_not_have(tmp_path: Path) -> None:
    location = tmp_path / "location"
    location.mkdir()
    repository = Repository.open(LocalBlobStore(location), create=True)
    pages = [os.urandom(PAGE_BYTES) for _ in range(20)]
    versions = [
        pages[:10],
        pages[:10],  # nothing
        [pages[10], *pages[:10]],  # one new page moves all others
        [*pages[11:14], *pages[:10]],  # three new ones
    ]
    for number, content in enumerate(versions, 1):
        folder = tmp_path / f"source-{number}"
        (folder / "image").mkdir(parents=True)
        (folder / "image/pages-1.img").write_bytes(b"".join(content))
        repository.put(f"default/{SERVICE}.1", number, folder, {})
    found = changed_bytes(location, first=1)
    # Random bytes do not get smaller, and a few more for each block.
    assert 4 * PAGE_BYTES <= found < 4 * PAGE_BYTES + 100


def sample(peer: str, client_s: float, megabytes: int = 750) -> Frozen:
    return Frozen(peer, megabytes, "idle", client_s, None, 1.0, 1000, 0.1, 0)


def test_medians_are_compared_and_only_at_the_promised_size() -> None:
    samples = [
        *(sample("SwarmKeep", seconds) for seconds in (0.3, 9.0, 0.2)),
        *(sample(peer, 1.0) for peer in ("podman", "podman zstd")),
        sample("docker checkpoint", 2.0),
        sample("SwarmKeep", 1.0, megabytes=100),
    ]
    samples += [Frozen(s.peer, 750, "busy", s.client_s, None, 1.0, 1, 0.1, 0) for s in samples if s.megabytes == 750]
    assert [(goal.measured, goal.reached) for goal in freeze_goals(samples)] == [(0.3, True), (0.15, False)] * 2
    text = table(freeze_rows(samples))
    assert "0.300 s" in text
    assert len({len(line.rstrip()) for line in text.splitlines()}) == 1


def test_a_goal_may_be_a_least_value() -> None:
    assert Goal("GB/s", 1.2, 1.0, at_least=True).reached
    assert "NOT REACHED" in str(Goal("GB/s", 0.9, 1.0, at_least=True))


def test_bars_are_valid_svg_and_longer_for_more() -> None:
    text = bars("A & B", "s", {"one": {"x": 0.01, "y": 10.0}, "two": {"x": 0.0}})
    root = ElementTree.fromstring(text)  # noqa: S314 - we have written it ourselves
    colours = ("#1f6f8b", "#c8553d")
    drawn = [
        float(rect.get("width", 0))
        for rect in root.iter("{http://www.w3.org/2000/svg}rect")
        if rect.get("fill") in colours and rect.get("height") == "13"
    ]
    assert len(drawn) == 3
    assert drawn[1] > drawn[0] > 0
    assert max(drawn) < 860


def test_counts_what_a_command_and_its_children_use() -> None:
    spin = "import time; begun = time.process_time()\nwhile time.process_time() - begun < 0.3: pass"
    done = run_measured(["sh", "-c", f"{sys.executable} -c '{spin}'; echo done"])
    assert done.output == "done\n"
    assert 0.25 < done.cpu_s < 5
    assert done.memory_bytes > 1_000_000


def test_a_command_that_takes_too_long_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(LabError, match=r"longer than 0\.2 s"):
        run_measured(["sleep", "60"], limit_s=0.2)
    assert time.monotonic() - begun < 5


def test_counts_what_a_process_that_runs_on_uses_meanwhile() -> None:
    with measured([os.getpid()]) as usage:
        ballast = bytearray(os.urandom(1 << 20) * 50)
        begun = time.process_time()
        while time.process_time() - begun < 0.2:
            pass
    assert usage.cpu_s >= 0.15
    assert usage.memory_bytes >= len(ballast) * 0.8
