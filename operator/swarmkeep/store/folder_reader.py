"""Reads a folder for storing: a stream of its files' bytes, and the entries that say what they were."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from swarmkeep.errors import HostError, NotFound
from swarmkeep.store.deadline import Deadline
from swarmkeep.store.entry import FILE_TYPE_BITS, ROOT, Entry, EntryType
from swarmkeep.store.names import name_to_text
from swarmkeep.store.os_errors import on_this_node

PAGE_BYTES = 4096
CHUNK_BYTES = 1 << 20

_ZERO_PAGE = bytes(PAGE_BYTES)
_TYPES = {bits: kind for kind, bits in FILE_TYPE_BITS.items()}
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class FolderReader:
    """Reads one folder once. Its memory is one chunk and the list of entries, whatever the size of the files."""

    def __init__(self, folder: Path, deadline: Deadline) -> None:
        self._folder = os.fsencode(folder)
        self._deadline = deadline
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._buffer = bytearray(CHUNK_BYTES)
        self.entries: list[Entry] = []
        """Complete once `chunks` is exhausted."""

    def chunks(self) -> Iterator[memoryview]:
        """The bytes of all files in the order of `entries`, pages of zeros left out.

        A chunk is valid until the next one is asked for. Raises NotFound when the folder is not there, HostError when
        it cannot be read or changes meanwhile, Stopped.
        """
        pending = [ROOT]
        while pending:
            path = pending.pop()
            self._deadline.check()
            with on_this_node(f"reading {name_to_text(path)}"):
                yield from self._entry(path, pending)

    def _entry(self, path: bytes, pending: list[bytes]) -> Iterator[memoryview]:
        location = self._location(path)
        try:
            status = os.lstat(location)
        except FileNotFoundError:
            if path == ROOT:
                raise NotFound(f"folder {name_to_text(self._folder)} does not exist") from None
            raise self._changed(path) from None
        kind = _TYPES[stat.S_IFMT(status.st_mode)]
        if path == ROOT and kind is not EntryType.FOLDER:
            raise NotFound(f"{name_to_text(self._folder)} is no folder")
        if kind is not EntryType.FOLDER and status.st_nlink > 1:
            first = self._first_names.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                self.entries.append(Entry(path, EntryType.HARD_LINK, target=first))
                return
        runs: list[tuple[int, int]] = []
        digest = b""
        if kind is EntryType.FILE:
            hasher = blake3()
            for start, chunk in self._stored_parts(path, location, status):
                hasher.update(chunk)
                _extend(runs, start, len(chunk))
                yield chunk
            digest = hasher.digest()
        elif kind is EntryType.FOLDER:
            prefix = b"" if path == ROOT else path + b"/"
            # The stack gives the last one first.
            pending += sorted((prefix + name for name in os.listdir(location)), reverse=True)
        is_device = kind in (EntryType.CHARACTER_DEVICE, EntryType.BLOCK_DEVICE)
        self.entries.append(
            Entry(
                path=path,
                type=kind,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                mtime_ns=status.st_mtime_ns,
                xattrs=_xattrs(location),
                size=status.st_size if kind is EntryType.FILE else 0,
                runs=tuple(runs),
                blake3=digest,
                target=os.readlink(location) if kind is EntryType.SYMLINK else b"",
                device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
            )
        )

    def _stored_parts(self, path: bytes, location: bytes, expected: os.stat_result) -> Iterator[tuple[int, memoryview]]:
        """(offset, bytes) of whatever in the file is not a page of zeros."""
        descriptor = os.open(location, _OPEN)
        try:
            view = memoryview(self._buffer)
            for start, end in _allocated(descriptor, expected.st_size):
                offset = start
                while offset < end:
                    self._deadline.check()
                    wanted = min(CHUNK_BYTES, end - offset)
                    if _fill(descriptor, view[:wanted], offset) != wanted:
                        raise self._changed(path)
                    for first, last in _not_zero(self._buffer, wanted):
                        yield offset + first, view[first:last]
                    offset += wanted
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (found.st_ino, found.st_size, found.st_mtime_ns) != (
            expected.st_ino,
            expected.st_size,
            expected.st_mtime_ns,
        ):
            raise self._changed(path)

    def _location(self, path: bytes) -> bytes:
        return self._folder if path == ROOT else self._folder + b"/" + path

    def _changed(self, path: bytes) -> HostError:
        return HostError(f"{name_to_text(self._location(path))} was changed while it was being stored")


def _allocated(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what the file system says is no hole, in whole pages; the end of the file may cut the last."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
            start, end = position, size
        start = max(position, start - start % PAGE_BYTES)
        position = min(size, end + -end % PAGE_BYTES)
        yield start, position


def _fill(descriptor: int, view: memoryview, offset: int) -> int:
    filled = 0
    while filled < len(view):
        count = os.preadv(descriptor, [view[filled:]], offset + filled)
        if count == 0:
            break
        filled += count
    return filled


def _not_zero(buffer: bytearray, length: int) -> Iterator[tuple[int, int]]:
    """(first, last) of the runs of pages in `buffer[:length]` that are not all zeros."""
    first = -1
    for start in range(0, length, PAGE_BYTES):
        page = buffer[start : min(start + PAGE_BYTES, length)]
        is_zero = page == _ZERO_PAGE if len(page) == PAGE_BYTES else not any(page)
        if is_zero and first >= 0:
            yield first, start
            first = -1
        elif not is_zero and first < 0:
            first = start
    if first >= 0:
        yield first, length


def _extend(runs: list[tuple[int, int]], start: int, length: int) -> None:
    if runs and sum(runs[-1]) == start:
        runs[-1] = (runs[-1][0], runs[-1][1] + length)
    else:
        runs.append((start, length))


def _xattrs(location: bytes) -> tuple[tuple[bytes, bytes], ...]:
    try:
        names = sorted(map(os.fsencode, os.listxattr(location, follow_symlinks=False)))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return ()
        raise
    return tuple((name, os.getxattr(location, name, follow_symlinks=False)) for name in names)
