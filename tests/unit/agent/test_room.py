"""Whether another version fits is asked before anything is written."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from swarmkeep.agent import room
from swarmkeep.errors import StorageFull

GIB = 1 << 30


@pytest.mark.parametrize(
    ("size", "available", "free"),
    [(10 * GIB, 2 * GIB, 1.5 * GIB), (1000 * GIB, 50 * GIB, 49 * GIB), (10 * GIB, 0.4 * GIB, 0)],
)
def test_some_of_the_disk_stays_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: float, available: float, free: float
) -> None:
    disk = SimpleNamespace(f_frsize=1, f_blocks=int(size), f_bavail=int(available))
    monkeypatch.setattr(os, "statvfs", lambda folder: disk)
    assert room.free_bytes(tmp_path / "not" / "there" / "yet") == int(free)


def test_what_does_not_fit_is_refused_with_the_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda folder: 5 << 20)
    room.require_room(tmp_path, 5 << 20, "a version")
    with pytest.raises(StorageFull, match=r"for a version: it needs 6\.00 MiB, 5\.00 MiB may be used"):
        room.require_room(tmp_path, 6 << 20, "a version")
