"""The cache: what it gives is whole, whatever happened to it, and it never takes the room that a version needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from swarmkeep.agent import image_cache, room
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.model.ident import Ref

from ..objects import NOW
from .places import WL

BIG = 1 << 30


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "images", "boot", BIG)


def folder(tmp_path: Path, size: int = 100_000) -> Path:
    made = tmp_path / "staged"
    (made / "image").mkdir(parents=True)
    (made / "layer").mkdir()
    (made / "image/pages-1.img").write_bytes(b"p" * size)
    (made / "layer/link").symlink_to("nowhere")
    return made


def test_an_adopted_folder_is_found_whole_and_by_the_next_life_too(cache: ImageCache, tmp_path: Path) -> None:
    staged = folder(tmp_path)
    inode = (staged / "image/pages-1.img").stat().st_ino
    cache.adopt(WL, 3, NOW, staged)
    assert not staged.exists()
    for life in (cache, ImageCache(tmp_path / "images", "boot", BIG)):
        found = life.find(WL, 3)
        assert found is not None
        assert (found / "image/pages-1.img").stat().st_ino == inode
        assert life.newest(WL) == 3
    assert cache.find(WL, 2) is None


def test_after_a_reboot_nothing_of_it_counts(cache: ImageCache, tmp_path: Path) -> None:
    cache.adopt(WL, 3, NOW, folder(tmp_path))
    after = ImageCache(tmp_path / "images", "another boot", BIG)
    assert after.find(WL, 3) is None
    assert not after.path(WL, 3).exists()


@pytest.mark.parametrize("damage", ["cut", "touched", "gone", "more", "mark", "no mark"])
def test_a_damaged_entry_is_not_given_and_goes(cache: ImageCache, tmp_path: Path, damage: str) -> None:
    cache.adopt(WL, 3, NOW, folder(tmp_path))
    path = cache.path(WL, 3)
    pages, mark = path / "image/pages-1.img", path.with_name("v3.whole")
    if damage == "cut":
        with pages.open("r+b") as file:
            file.truncate(10)
    elif damage == "touched":
        pages.write_bytes(b"q" * 100_000)
    elif damage == "gone":
        pages.unlink()
    elif damage == "more":
        (path / "layer/more").write_text("x")
    elif damage == "mark":
        mark.write_text("{")
    else:
        mark.unlink()
    assert cache.find(WL, 3) is None
    assert not path.exists()
    assert cache.find(WL, 3) is None


def test_a_half_made_folder_counts_for_nothing_in_the_next_life(cache: ImageCache, tmp_path: Path) -> None:
    shutil.move(folder(tmp_path), cache.path(WL, 4))
    after = ImageCache(tmp_path / "images", "boot", BIG)
    assert after.find(WL, 4) is None
    assert not after.path(WL, 4).exists()


def test_a_mark_that_lies_elsewhere_than_it_says_is_not_believed(cache: ImageCache, tmp_path: Path) -> None:
    cache.adopt(WL, 3, NOW, folder(tmp_path))
    mark = cache.path(WL, 3).with_name("v3.whole")
    record = json.loads(mark.read_text())
    mark.write_text(json.dumps({**record, "number": 4}))
    assert ImageCache(tmp_path / "images", "boot", BIG).images() == []


def test_the_limit_holds_and_what_is_used_stays(tmp_path: Path) -> None:
    reading: set[tuple[Ref, int]] = set()
    cache = ImageCache(tmp_path / "images", "boot", 250_000, lambda: frozenset(reading))
    for number in (1, 2, 3):
        cache.adopt(WL, number, NOW, folder(tmp_path))
        reading.add((WL, 1))
    assert {item.number for item in cache.images()} == {1, 3}
    reading.clear()
    with cache.using(WL, 3):
        cache.make_room(room.free_bytes(tmp_path) + 1_000_000_000, tmp_path)
        assert {item.number for item in cache.images()} == {3}
    cache.make_room(room.free_bytes(tmp_path) + 1_000_000_000, tmp_path)
    assert cache.images() == []
    assert not any((tmp_path / "images").iterdir())


def test_without_a_size_nothing_is_kept(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "images", "boot", 0)
    staged = folder(tmp_path)
    cache.adopt(WL, 1, NOW, staged)
    assert cache.images() == []
    assert not staged.exists()


def test_a_folder_on_another_file_system_is_let_go(
    cache: ImageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(self: Path, target: Path) -> Path:
        raise OSError(18, "Invalid cross-device link")

    staged = folder(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuses)
        cache.adopt(WL, 1, NOW, staged)
    assert not staged.exists()
    assert cache.find(WL, 1) is None


async def test_one_at_a_time_fills_an_entry(cache: ImageCache) -> None:
    assert not cache.is_filling(WL, 1)
    async with cache.filling(WL, 1):
        assert cache.is_filling(WL, 1)
        assert not cache.is_filling(WL, 2)
    assert not cache.is_filling(WL, 1)


def test_a_nearly_full_disk_makes_the_cache_small(
    cache: ImageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "free_bytes", lambda folder: 0)
    cache.adopt(WL, 1, NOW, folder(tmp_path))
    assert cache.images() == []


def test_room_on_another_disk_costs_the_cache_nothing(cache: ImageCache, tmp_path: Path) -> None:
    cache.adopt(WL, 1, NOW, folder(tmp_path))
    cache.make_room(1 << 60, Path("/dev/shm"))
    assert cache.newest(WL) == 1


def test_a_disk_that_lets_nothing_go_is_no_reason_to_die(
    cache: ImageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    cache.adopt(WL, 1, NOW, folder(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuses)
        cache.drop(WL, 1)
        assert cache.find(WL, 1) is None
    assert ImageCache(tmp_path / "images", "boot", BIG).find(WL, 1) is None
