"""Locations that earlier builds wrote stay readable: what lies in golden/ was written once and is never written again.

In format-2-encrypted the first version was written under one key and rewrapped under another, the second was written
under that.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.repository import Repository

W = "default/redis.1"


def page(number: int) -> bytes:
    return (f"page {number} ".encode() * 600)[:4096]


KEYRING = Keyring(LocationKey(bytes(range(32, 64))))


@pytest.fixture(params=[("format-1", None), ("format-2-encrypted", KEYRING)], ids=["plain", "encrypted"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    name, keyring = request.param
    location = tmp_path / "location"
    shutil.copytree(Path(__file__).parent / "golden" / name, location)
    return Repository.open(LocalBlobStore(location), create=False, keyring=keyring)


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_version_is_restored(repository: Repository, tmp_path: Path, version: int) -> None:
    manifest = repository.get(W, version, tmp_path / "back")

    back = tmp_path / "back"
    pages = [
        bytes(4096) if number % 10 == 3 else page(number if number % 7 or version == 1 else number + 1000)
        for number in range(300)
    ]
    assert (back / "pages-1.img").read_bytes() == b"".join(pages)
    assert (back / "note").read_bytes() == [b"hello\n", b"hello again\n"][version - 1]
    assert (back / "same").samefile(back / "note")
    assert os.readlink(back / "link") == "note"
    assert stat.S_ISCHR((back / "folder/gone").lstat().st_mode)
    assert (back / "sparse").read_bytes() == bytes(5 << 20) + b"middle" + bytes((5 << 20) - 6)
    assert (back / "folder").stat().st_mtime_ns == 1_700_000_000_000_000_006 + version
    assert manifest.facts == {"specHash": "abc"}
    assert manifest.taken_at.isoformat() == f"2026-11-23T09:0{version - 1}:00+00:00"


def test_an_old_location_is_read_in_full(repository: Repository) -> None:
    assert repository.location_id
    assert repository.workloads() == [W]
    assert repository.versions(W) == [1, 2]
    assert repository.verify(W, 1) == repository.verify(W, 2) == ()
    assert [len(repository.manifest(W, version).packs) for version in (1, 2)] == [1, 2]
