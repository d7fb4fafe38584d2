"""Reads a folder for storing: its files chunk by chunk, and the entries that say what is in it."""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from swarmkeep.errors import HostError, NotFound
from swarmkeep.store.chunks import MAX_CHUNK_BYTES, Chunk
from swarmkeep.store.deadline import Deadline
from swarmkeep.store.entry import FILE_TYPE_BITS, ROOT, Entry, EntryType
from swarmkeep.store.layout import whole_pages
from swarmkeep.store.names import name_to_text
from swarmkeep.store.os_errors import on_this_node
from swarmkeep.store.page_table import PAGE_BYTES

_TYPES = {bits: kind for kind, bits in FILE_TYPE_BITS.items()}
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Sink(Protocol):
    """Takes the contents of files, one file after the other, each from its beginning to its end."""

    def begin_file(self, path: bytes) -> None:
        """From now on pages are of that file."""

    def next_cut(self) -> int:
        """How many pages the sink wants next, from 1 to MAX_CHUNK_PAGES."""

    def zeros(self, pages: int) -> None:
        """The next pages of the current file are a hole."""

    def chunk(self, pages: memoryview) -> None:
        """The next pages of the current file; beyond its end there are zeros. They change afterwards."""


class FolderReader:
    """Reads one folder once, parts of it again. Its memory is a chunk and the entries, however big the files are."""

    def __init__(self, folder: Path, sink: Sink, deadline: Deadline) -> None:
        self._folder = os.fsencode(folder)
        self._sink = sink
        self._deadline = deadline
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._buffer = bytearray(MAX_CHUNK_BYTES)
        self._files: list[tuple[int, bytes, int]] = []
        """Where each file that is not empty begins in the stream, in pages; its path and size."""
        self._pages = 0

    def read(self) -> tuple[Entry, ...]:
        """Gives all files to the sink and returns the entries in the same order, the folder itself first.

        Raises NotFound when the folder is not there, HostError when it cannot be read or changes meanwhile, Stopped,
        and what the sink raises.
        """
        entries = []
        pending = [ROOT]
        while pending:
            path = pending.pop()
            self._deadline.check()
            with on_this_node(f"reading {name_to_text(path)}"):
                entry = self._entry(path)
                entries.append(entry)
                if entry.type is EntryType.FOLDER:
                    prefix = b"" if path == ROOT else path + b"/"
                    # The stack gives the last one first.
                    pending += sorted((prefix + name for name in os.listdir(self._location(path))), reverse=True)
        return tuple(entries)

    def read_again(self, chunks: Iterable[Chunk], take: Callable[[Chunk, memoryview], bool]) -> None:
        """Gives chunks to `take` once more, which says whether they still are what they were when they were read.

        Raises HostError when a file is gone or has changed, Stopped, and what `take` raises.
        """
        for chunk in chunks:
            self._deadline.check()
            begin, path, size = self._files[bisect_right(self._files, chunk.start, key=lambda file: file[0]) - 1]
            start = (chunk.start - begin) * PAGE_BYTES
            with on_this_node(f"reading {name_to_text(path)}"):
                descriptor = os.open(self._location(path), _OPEN)
                try:
                    self._fill(path, descriptor, start, min(size, start + chunk.pages * PAGE_BYTES))
                finally:
                    os.close(descriptor)
            if not take(chunk, memoryview(self._buffer)[: chunk.pages * PAGE_BYTES]):
                raise self._changed(path)

    def _entry(self, path: bytes) -> Entry:
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
                return Entry(path, EntryType.HARD_LINK, target=first)
        if kind is EntryType.FILE:
            self._read_file(path, location, status)
        is_device = kind in (EntryType.CHARACTER_DEVICE, EntryType.BLOCK_DEVICE)
        return Entry(
            path=path,
            type=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=status.st_mtime_ns,
            xattrs=_xattrs(location),
            size=status.st_size if kind is EntryType.FILE else 0,
            target=os.readlink(location) if kind is EntryType.SYMLINK else b"",
            device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
        )

    def _read_file(self, path: bytes, location: bytes, expected: os.stat_result) -> None:
        size = expected.st_size
        pages = whole_pages(size)
        if pages:
            self._files.append((self._pages, path, size))
            self._pages += pages
        descriptor = os.open(location, _OPEN)
        try:
            self._sink.begin_file(path)
            done = 0
            while done < pages:
                self._deadline.check()
                start = min(pages, _next_data(descriptor, done * PAGE_BYTES, size) // PAGE_BYTES)
                self._sink.zeros(start - done)
                done = min(pages, start + self._sink.next_cut())
                if done > start:
                    self._fill(path, descriptor, start * PAGE_BYTES, min(size, done * PAGE_BYTES))
                    self._sink.chunk(memoryview(self._buffer)[: (done - start) * PAGE_BYTES])
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (found.st_ino, found.st_size, found.st_mtime_ns) != (expected.st_ino, size, expected.st_mtime_ns):
            raise self._changed(path)

    def _fill(self, path: bytes, descriptor: int, start: int, end: int) -> None:
        """Reads a part of a file into the buffer, and zeros up to the end of the page."""
        view = memoryview(self._buffer)
        filled = 0
        while filled < end - start:
            count = os.preadv(descriptor, [view[filled : end - start]], start + filled)
            if count == 0:
                raise self._changed(path)
            filled += count
        self._buffer[filled : filled + -filled % PAGE_BYTES] = bytes(-filled % PAGE_BYTES)

    def _location(self, path: bytes) -> bytes:
        return self._folder if path == ROOT else self._folder + b"/" + path

    def _changed(self, path: bytes) -> HostError:
        return HostError(f"{name_to_text(self._location(path))} was changed while it was being stored")


def _next_data(descriptor: int, offset: int, size: int) -> int:
    """Where after `offset` the file system says that there is something; `size` when there is nothing more."""
    try:
        # The file system's blocks may be smaller than our pages.
        return max(offset, os.lseek(descriptor, offset, os.SEEK_DATA))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size + PAGE_BYTES
        if error.errno in (errno.EINVAL, errno.ENOTSUP):
            return offset
        raise


def _xattrs(location: bytes) -> tuple[tuple[bytes, bytes], ...]:
    try:
        names = sorted(map(os.fsencode, os.listxattr(location, follow_symlinks=False)))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return ()
        raise
    return tuple((name, os.getxattr(location, name, follow_symlinks=False)) for name in names)
