"""What a container watches is found by the numbers that the kernel tells: here with real watches of this process."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmkeep.agent.runtime import watches as module
from swarmkeep.agent.runtime.watches import Watches

IN_CREATE = 0x100


@pytest.fixture
def inotify() -> Iterator[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    assert descriptor >= 0
    yield descriptor
    os.close(descriptor)


def watch(inotify: int, path: Path) -> None:
    assert ctypes.CDLL(None).inotify_add_watch(inotify, os.fsencode(path), IN_CREATE) > 0


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc in which process 1 has this process' descriptors, and a folder as its root."""
    (tmp_path / "root/etc/app").mkdir(parents=True)
    (tmp_path / "root/srv").mkdir()
    (tmp_path / "root/srv/file").write_text("")
    (tmp_path / "proc/1").mkdir(parents=True)
    for name in ("fd", "fdinfo"):
        (tmp_path / "proc/1" / name).symlink_to(f"/proc/{os.getpid()}/{name}")
    (tmp_path / "proc/1/root").symlink_to(tmp_path / "root")
    return tmp_path / "proc"


def test_folders_and_files_that_are_watched_are_found(proc: Path, tmp_path: Path, inotify: int) -> None:
    watches = Watches(proc)
    assert watches.paths("c", 1, [1]) == []
    watch(inotify, tmp_path / "root/etc/app")
    watch(inotify, tmp_path / "root/srv/file")
    assert watches.paths("c", 1, [1]) == ["/etc/app", "/srv/file"]


def test_the_root_itself_may_be_watched(proc: Path, tmp_path: Path, inotify: int) -> None:
    watch(inotify, tmp_path / "root")
    assert Watches(proc).paths("c", 1, [1]) == ["/"]


def test_only_what_is_watched_anew_is_looked_for(
    proc: Path, tmp_path: Path, inotify: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    watches = Watches(proc)
    watch(inotify, tmp_path / "root/srv")
    assert watches.paths("c", 1, [1]) == ["/srv"]
    looked: list[set[int]] = []

    def search(root: Path, device: int, wanted: set[int], ends_at: float) -> dict[int, str]:
        looked.append(wanted)
        return {}

    monkeypatch.setattr(module, "_search", search)
    assert watches.paths("c", 1, [1]) == ["/srv"]
    assert looked == []
    watch(inotify, tmp_path / "root/etc")
    assert watches.paths("c", 1, [1]) == ["/srv"]
    assert watches.paths("c", 1, [1]) == ["/srv"]
    # Once, and not before every version.
    assert looked == [{(tmp_path / "root/etc").stat().st_ino}]


def test_a_folder_that_was_renamed_is_found_under_its_new_name(proc: Path, tmp_path: Path, inotify: int) -> None:
    watches = Watches(proc)
    watch(inotify, tmp_path / "root/srv")
    assert watches.paths("c", 1, [1]) == ["/srv"]
    (tmp_path / "root/srv").rename(tmp_path / "root/srv2")
    assert watches.paths("c", 1, [1]) == ["/srv2"]


def test_neither_an_endless_search_nor_a_process_that_is_gone_stops_a_dump(
    proc: Path, tmp_path: Path, inotify: int
) -> None:
    watch(inotify, tmp_path / "root/srv")
    assert Watches(proc, limit_s=0).paths("c", 1, [1]) == []
    assert Watches(proc).paths("c", 1, [2]) == []
    assert Watches(proc).paths("c", 2, [2]) == []
