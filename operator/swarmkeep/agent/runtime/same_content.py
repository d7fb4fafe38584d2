"""Whether two folders are the same to whoever looks into them. Used before a volume is put back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_CHUNK = 1 << 20


def is_same(one: Path, other: Path) -> bool:
    """Whether names, kinds, owners, modes, attributes, times and every byte are equal. Raises OSError."""
    if not _same_facts(one, other):
        return False
    if not stat.S_ISDIR(one.lstat().st_mode):
        return True
    names = sorted(os.listdir(one))
    return names == sorted(os.listdir(other)) and all(is_same(one / name, other / name) for name in names)


def _same_facts(one: Path, other: Path) -> bool:
    a, b = one.lstat(), other.lstat()
    kind = stat.S_IFMT(a.st_mode)
    if (a.st_mode, a.st_uid, a.st_gid, a.st_mtime_ns) != (b.st_mode, b.st_uid, b.st_gid, b.st_mtime_ns):
        return False
    if kind != stat.S_IFDIR and a.st_nlink != b.st_nlink:
        return False
    if _xattrs(one) != _xattrs(other):
        return False
    if kind == stat.S_IFLNK:
        return os.readlink(one) == os.readlink(other)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        return a.st_rdev == b.st_rdev
    return kind != stat.S_IFREG or (a.st_size == b.st_size and _same_bytes(one, other))


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb", buffering=0) as a, other.open("rb", buffering=0) as b:
        while left := a.read(_CHUNK):
            if left != b.read(len(left)):
                return False
        return not b.read(1)


def _xattrs(path: Path) -> dict[str, bytes]:
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if name != "security.selinux"
    }
