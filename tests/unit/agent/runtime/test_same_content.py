"""Two folders are the same only if nobody could tell them apart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmkeep.agent.runtime.same_content import is_same


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "folder").mkdir(parents=True)
    (one / "file").write_bytes(b"x" * 2_000_000)
    (one / "linked").write_bytes(b"y")
    os.link(one / "linked", one / "folder" / "again")
    (one / "link").symlink_to("file")
    os.mkfifo(one / "fifo")
    os.mknod(one / "null", 0o20666, os.makedev(1, 3))
    subprocess.run(["cp", "-a", one, other], check=True)
    return one, other


def test_a_copy_is_the_same(pair: tuple[Path, Path]) -> None:
    assert is_same(*pair)


def _byte(root: Path) -> None:
    before = (root / "file").stat()
    with (root / "file").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"z")
    os.utime(root / "file", ns=(before.st_atime_ns, before.st_mtime_ns))


def _link(root: Path) -> None:
    before = (root / "link").lstat()
    folder = root.stat()
    (root / "link").unlink()
    (root / "link").symlink_to("else")
    os.utime(root / "link", ns=(1, before.st_mtime_ns), follow_symlinks=False)
    os.utime(root, ns=(1, folder.st_mtime_ns))


def _split(root: Path) -> None:
    for path in (root / "folder" / "again", root / "linked"):
        before = path.stat()
    folder = (root / "folder").stat()
    (root / "folder" / "again").unlink()
    shutil.copy2(root / "linked", root / "folder" / "again")
    os.utime(root / "folder", ns=(1, folder.st_mtime_ns))
    os.utime(root / "linked", ns=(1, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        _byte,
        _link,
        _split,
        lambda root: (root / "file").chmod(0o600),
        lambda root: os.chown(root / "folder", 5, 5),
        lambda root: os.setxattr(root / "file", "user.note", b"x"),
        lambda root: os.utime(root / "fifo", ns=(1, 1)),
        lambda root: (root / "folder" / "more").touch(),
        lambda root: (root / "null").unlink(),
    ],
)
def test_whatever_differs_is_seen(pair: tuple[Path, Path], change: Callable[[Path], object]) -> None:
    change(pair[1])
    assert not is_same(*pair)
    assert not is_same(*reversed(pair))
