"""Makes a folder out of entries; the bytes of its files may come in any order."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from swarmkeep.store.deadline import Deadline
from swarmkeep.store.entry import FILE_TYPE_BITS, ROOT, Entry, EntryType
from swarmkeep.store.layout import Layout
from swarmkeep.store.names import name_to_text
from swarmkeep.store.os_errors import on_this_node

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_OPEN_FILES = 64
_ZEROS = memoryview(bytes(1 << 20))


class FolderWriter:
    """Fills one empty folder: `create`, then `write` as often as needed, then `finish`; `close` in any case.

    The entries have passed `check_tree`, so nothing leaves the folder. All calls raise StorageFull and HostError
    (owners and devices need root).
    """

    def __init__(self, folder: Path, entries: Sequence[Entry], layout: Layout, deadline: Deadline) -> None:
        self._base = os.fsencode(folder)
        self._entries = entries
        self._files = layout.files
        self._deadline = deadline
        self._open: OrderedDict[int, int] = OrderedDict()

    def create(self, taken: Mapping[bytes, Path] = MappingProxyType({})) -> None:
        """Makes everything, files as long as they will be and full of zeros.

        Files whose paths are in `taken` are moved here from where that says, and keep what is in them.
        """
        for entry in self._entries:
            self._deadline.check()
            location = self._location(entry)
            with on_this_node(f"creating {name_to_text(location)}"):
                if entry.path in taken:
                    os.rename(taken[entry.path], location)
                    os.truncate(location, entry.size)
                elif entry.type is EntryType.FILE:
                    descriptor = os.open(location, _NEW_FILE, 0o600)
                    try:
                        os.truncate(descriptor, entry.size)
                    finally:
                        os.close(descriptor)
                elif entry.type is EntryType.FOLDER:
                    if entry.path != ROOT:
                        os.mkdir(location, 0o700)
                elif entry.type is EntryType.HARD_LINK:
                    os.link(self._base + b"/" + entry.target, location, follow_symlinks=False)
                elif entry.type is EntryType.SYMLINK:
                    os.symlink(entry.target, location)
                else:
                    os.mknod(location, FILE_TYPE_BITS[entry.type] | 0o600, os.makedev(*entry.device))

    def write(self, file: int, offset: int, content: memoryview) -> None:
        """Writes into the layout's file of that number; what is beyond its size is left out."""
        with on_this_node(f"writing {name_to_text(self._files[file].path)}"):
            descriptor = self._descriptor(file)
            end = min(offset + len(content), self._files[file].size)
            written = offset
            while written < end:
                written += os.pwrite(descriptor, content[written - offset : end - offset], written)

    def zero(self, file: int, offset: int, length: int) -> None:
        """Makes a part of the layout's file of that number zeros."""
        for start in range(offset, offset + length, len(_ZEROS)):
            self._deadline.check()
            self.write(file, start, _ZEROS[: offset + length - start])

    def finish(self, *, durable: bool) -> None:
        """Gives everything its owner, mode, attributes and times; with `durable` it is on the disk afterwards."""
        self.close()
        # From the inside out: filling a folder changes its times, and its mode may forbid to look into it.
        for entry in reversed(self._entries):
            self._deadline.check()
            location = self._location(entry)
            with on_this_node(f"finishing {name_to_text(location)}"):
                if entry.type is EntryType.HARD_LINK:
                    continue
                if durable and entry.type in (EntryType.FILE, EntryType.FOLDER):
                    _set_attributes(location, entry)
                    _sync(location)
                else:
                    _set_attributes(location, entry)

    def close(self) -> None:
        """Closes what is open."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _descriptor(self, file: int) -> int:
        descriptor = self._open.pop(file, None)
        if descriptor is None:
            if len(self._open) >= _MAX_OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            descriptor = os.open(self._location(self._files[file]), _OPEN_FILE)
        self._open[file] = descriptor
        return descriptor

    def _location(self, entry: Entry) -> bytes:
        return self._base if entry.path == ROOT else self._base + b"/" + entry.path


def _set_attributes(location: bytes, entry: Entry) -> None:
    status = os.lstat(location)
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        os.chown(location, entry.uid, entry.gid, follow_symlinks=False)
    # After the owner, since changing that clears set-user-id bits and capabilities.
    if entry.type is not EntryType.SYMLINK:
        os.chmod(location, entry.mode)
    for name, value in entry.xattrs:
        os.setxattr(location, name, value, follow_symlinks=False)
    os.utime(location, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _sync(location: bytes) -> None:
    descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
