"""What a stored version lay in is kept for the next dump, and for nothing else."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from swarmkeep.agent import spare as module
from swarmkeep.agent.spare import Spare, in_memory


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    for name in ("v1", "v2"):
        (tmp_path / "default_redis.1" / name / "image").mkdir(parents=True)
        (tmp_path / "default_redis.1" / name / "image/pages-1.img").write_bytes(b"x" * 9000)
    return tmp_path


def files(staging: Path) -> list[str]:
    return sorted(str(path.relative_to(staging)) for path in staging.rglob("*") if path.is_file())


async def test_keeps_one_folder_until_it_is_released(staging: Path) -> None:
    spare = Spare(staging)
    spare.keep(staging / "default_redis.1/v1")
    assert files(staging) == [".spare/image/pages-1.img", "default_redis.1/v2/image/pages-1.img"]
    spare.keep(staging / "default_redis.1/v2")
    assert files(staging) == [".spare/image/pages-1.img"]
    spare.release()
    spare.release()
    assert files(staging) == []


async def test_on_a_disk_it_goes_before_it_would_be_written_out(staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_S", 0.05)
    monkeypatch.setattr(module, "in_memory", lambda path: False)
    Spare(staging).keep(staging / "default_redis.1/v1")
    await asyncio.sleep(0.3)
    assert files(staging) == ["default_redis.1/v2/image/pages-1.img"]


async def test_in_memory_it_stays(staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_S", 0.05)
    monkeypatch.setattr(module, "in_memory", lambda path: True)
    Spare(staging).keep(staging / "default_redis.1/v1")
    await asyncio.sleep(0.3)
    assert ".spare/image/pages-1.img" in files(staging)


async def test_keeps_nothing_where_space_is_short(staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM", 1.1)
    Spare(staging).keep(staging / "default_redis.1/v1")
    assert files(staging) == ["default_redis.1/v2/image/pages-1.img"]


async def test_what_cannot_be_kept_is_removed(staging: Path) -> None:
    (staging / ".spare").write_text("in the way")
    Spare(staging).keep(staging / "default_redis.1/v1")
    assert "default_redis.1/v1/image/pages-1.img" not in files(staging)


def test_tells_a_tmpfs_from_a_disk(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    line = f"1 0 {os.major(device)}:{os.minor(device)} / / rw - {{}} none rw\n"
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(line.format("tmpfs"))
    assert in_memory(tmp_path, mountinfo)
    mountinfo.write_text(line.format("ext4"))
    assert not in_memory(tmp_path, mountinfo)
    assert not in_memory(tmp_path / "nowhere", mountinfo)
    assert in_memory(Path("/dev/shm"))
