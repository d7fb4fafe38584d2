"""Copies the content of a file as fast as the file system allows: shared blocks, else in the kernel, holes kept."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable

_FICLONE = 0x40049409
"""Share the other file's blocks. Source: linux/fs.h."""
_CHUNK = 8 << 20
_NOT_HERE = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EBADF})


def no_check() -> None:
    """For a copy that may take as long as it takes."""


def copy_content(source: int, target: int, size: int, check: Callable[[], None] = no_check) -> None:
    """Makes the empty file `target` equal to the first `size` bytes of `source`. Raises OSError.

    `check` is called between chunks; what it raises ends the copy.
    """
    if size == 0:
        return
    try:
        fcntl.ioctl(target, _FICLONE, source)
        os.ftruncate(target, size)
        return
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    os.ftruncate(target, size)
    position = 0
    while position < size:
        start, end = _next_data(source, position, size)
        if start >= size:
            return
        _copy_range(source, target, start, min(end, size), check)
        position = end


def _next_data(source: int, position: int, size: int) -> tuple[int, int]:
    """The next stretch that is no hole; the whole rest when the file system does not know."""
    try:
        start = os.lseek(source, position, os.SEEK_DATA)
        return start, os.lseek(source, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        if error.errno not in _NOT_HERE:
            raise
        return position, size


def _copy_range(source: int, target: int, start: int, end: int, check: Callable[[], None]) -> None:
    in_kernel = True
    while start < end:
        check()
        length = min(end - start, _CHUNK)
        if in_kernel:
            try:
                copied = os.copy_file_range(source, target, length, start, start)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                in_kernel = False
                continue
        else:
            copied = os.pwrite(target, os.pread(source, length, start), start)
        if copied == 0:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        start += copied
