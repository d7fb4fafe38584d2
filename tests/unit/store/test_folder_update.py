"""A folder made out of another version's: attributes, hard links and all, and only what is new is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.errors import DataError
from swarmkeep.store import folder_update
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.folder_update import Base
from swarmkeep.store.repository import Repository

W = "default/redis.1"


class CountingBlobs(MemoryBlobStore):
    """Counts the bytes that are read out of packs."""

    read_bytes = 0

    def read(self, key: str, offset: int, length: int) -> bytes:
        if key.startswith("packs/"):
            self.read_bytes += length
        return super().read(key, offset, length)


@pytest.fixture
def blobs() -> CountingBlobs:
    return CountingBlobs()


@pytest.fixture
def repository(blobs: CountingBlobs) -> Repository:
    return Repository.open(blobs, create=True)


def test_everything_survives_an_update(
    repository: Repository,
    folder: Path,
    tmp_path: Path,
    describe: Callable[[Path], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder_update, "MIN_BYTES", 1)
    repository.put(W, 1, folder, {})
    with (folder / "big").open("r+b") as file:
        file.seek(4096)
        file.write(bytes(8192))
        file.seek(0, 2)
        file.write(b"more")
    (folder / "pages-1.img").write_bytes(b"\7" * 4096)
    (folder / "etc/shadow").chmod(0o600)
    os.removexattr(folder / "etc/shadow", "user.note")
    os.link(folder / "big", folder / "big-too")
    shutil.rmtree(folder / "locked")
    repository.put(W, 2, folder, {})

    manifest = repository.get(W, 1, tmp_path / "base")
    inode = (tmp_path / "base/big").stat().st_ino
    repository.get(W, 2, tmp_path / "made", base=Base(tmp_path / "base", manifest))

    shutil.rmtree(tmp_path / "base")
    assert describe(tmp_path / "made") == describe(folder)
    assert (tmp_path / "made/big").stat().st_ino == inode


def test_only_new_pages_are_read(repository: Repository, blobs: CountingBlobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pages-1.img").write_bytes(os.urandom(16 << 20))
    repository.put(W, 1, source, {})
    manifest = repository.get(W, 1, tmp_path / "base")
    with (source / "pages-1.img").open("r+b") as file:
        file.seek(5 << 20)
        file.write(os.urandom(4096))
    repository.put(W, 2, source, {})
    blobs.read_bytes = 0

    repository.get(W, 2, tmp_path / "made", base=Base(tmp_path / "base", manifest))

    assert (tmp_path / "made/pages-1.img").read_bytes() == (source / "pages-1.img").read_bytes()
    assert blobs.read_bytes < 20_000


def test_what_fails_leaves_the_old_target_and_no_half_made_one(
    repository: Repository, blobs: CountingBlobs, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pages-1.img").write_bytes(os.urandom(2 << 20))
    repository.put(W, 1, source, {})
    manifest = repository.get(W, 1, tmp_path / "base")
    (source / "pages-1.img").write_bytes(os.urandom(2 << 20))
    repository.put(W, 2, source, {})
    (tmp_path / "made").mkdir()
    for info in list(blobs.list("packs/")):
        blobs.delete(info.key)

    with pytest.raises(DataError):
        repository.get(W, 2, tmp_path / "made", base=Base(tmp_path / "base", manifest))

    assert list((tmp_path / "made").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"source", "base", "made"}
