"""What the tests of the store share: a folder with all that a writable layer may hold, and how to compare two."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Describe = Callable[[Path], dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one of everything."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "pages-1.img").write_bytes(b"".join(bytes([number]) * 4096 for number in (1, 0, 2, 0, 0, 3, 1)))
    (folder / "small").write_bytes(b"hello")
    (folder / "empty").write_bytes(b"")
    (folder / "zeros").write_bytes(bytes(10_000))
    with (folder / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"tail")
        file.truncate(5 << 20)
    (folder / "big").write_bytes(os.urandom(1 << 20) + bytes(1 << 20) + os.urandom((1 << 20) + 17))
    inner = folder / "etc"
    inner.mkdir()
    (inner / "shadow").write_bytes(b"root")
    os.chown(inner / "shadow", 1234, 4321)
    (inner / "shadow").chmod(0o640)
    (inner / "suid").write_bytes(b"#!")
    os.chown(inner / "suid", 7, 7)
    (inner / "suid").chmod(0o4755)
    os.setxattr(inner / "suid", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.setxattr(inner / "shadow", "user.note", b"\x00\xff")
    os.link(folder / "small", inner / "linked")
    (inner / "up").symlink_to("../small")
    (inner / "dangling").symlink_to("/no/where")
    os.link(inner / "up", inner / "up-too", follow_symlinks=False)
    os.mknod(folder / "whiteout", stat.S_IFCHR | 0o000, os.makedev(0, 0))
    os.mknod(folder / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 1))
    os.mkfifo(folder / "fifo", 0o622)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "sock"))
    server.close()
    opaque = folder / "opaque"
    opaque.mkdir(mode=0o1777)
    os.setxattr(opaque, "trusted.overlay.opaque", b"y")
    (folder / "locked").mkdir()
    (folder / "locked/file").write_bytes(b"x")
    (folder / "locked").chmod(0o500)
    strange = os.fsencode(folder) + b"/caf\xe9 \\ \xf0\x9f\x90\xb3\n"
    Path(os.fsdecode(strange)).write_bytes(b"strange")
    os.symlink(b"\xff\xfe", os.fsencode(inner) + b"/bytes")
    for number, path in enumerate(sorted(folder.rglob("*"))):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number), follow_symlinks=False)
    os.utime(folder, ns=(0, 987_654_321))
    return folder


@pytest.fixture
def describe() -> Describe:
    """Says everything about a folder that has to survive, by path."""
    return _describe


def _describe(folder: Path) -> dict[str, Any]:
    names: dict[int, str] = {}
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        name = str(path.relative_to(folder))
        content: bytes | str = b""
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        xattrs = {
            each: os.getxattr(path, each, follow_symlinks=False) for each in os.listxattr(path, follow_symlinks=False)
        }
        same_as = names.setdefault(status.st_ino, name)
        found[name] = (
            oct(status.st_mode),
            (status.st_uid, status.st_gid),
            status.st_mtime_ns,
            status.st_rdev,
            status.st_nlink if not stat.S_ISDIR(status.st_mode) else 0,
            same_as,
            xattrs,
            content,
        )
    return found
