"""Processes of a container are found by their cgroup, and nobody else's are."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmkeep.agent.runtime.processes import kill_members, member

ID = "4f" * 32


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("lines", "killed"),
    [
        (f"4:freezer:/docker/{ID}\n1:name=systemd:/\n", 1),
        (f"0::/system.slice/docker-{ID}.scope\n", 1),
        (f"0::/docker/{ID}/init\n", 1),
        (f"0::/docker/{ID[:-1]}\n", 0),
        (f"0::/docker/x{ID}\n", 0),
        ("0::/user.slice\n", 0),
    ],
)
def test_only_what_is_in_the_containers_cgroup_is_killed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], lines: str, killed: int
) -> None:
    (tmp_path / str(sleeper.pid)).mkdir()
    (tmp_path / str(sleeper.pid) / "cgroup").write_text(lines)
    (tmp_path / "999999999").mkdir()
    assert member(ID, tmp_path) == (sleeper.pid if killed else 0)
    assert kill_members(ID, tmp_path) == killed
    if killed:
        assert sleeper.wait(10) == -9
    else:
        assert sleeper.poll() is None


def test_of_several_processes_the_first_is_named(tmp_path: Path) -> None:
    for pid in (1200, 900, 1000):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"0::/docker/{ID}\n")
    assert member(ID, tmp_path) == 900
