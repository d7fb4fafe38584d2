"""Makes a folder out of entries and a stream of bytes, checking every hash."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from swarmkeep.errors import CorruptData
from swarmkeep.store.deadline import Deadline
from swarmkeep.store.entry import FILE_TYPE_BITS, ROOT, Entry, EntryType
from swarmkeep.store.names import name_to_text
from swarmkeep.store.os_errors import on_this_node

Source = Callable[[int], Iterator[memoryview]]
"""Gives the next so many bytes of the stream."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_folder(folder: Path, entries: Sequence[Entry], source: Source, deadline: Deadline, *, durable: bool) -> None:
    """Fills the empty `folder`. The entries have passed `check_tree`.

    `durable`: everything has reached the disk when this returns. Raises CorruptData when a file does not have its hash,
    StorageFull, HostError (owners and devices need root), Stopped.
    """
    base = os.fsencode(folder)
    for entry in entries:
        deadline.check()
        location = _location(base, entry)
        with on_this_node(f"writing {name_to_text(location)}"):
            if entry.type is EntryType.FILE:
                _write_file(location, entry, source, deadline, durable)
            elif entry.type is EntryType.FOLDER:
                if entry.path != ROOT:
                    os.mkdir(location, 0o700)
            elif entry.type is EntryType.HARD_LINK:
                os.link(base + b"/" + entry.target, location, follow_symlinks=False)
            elif entry.type is EntryType.SYMLINK:
                os.symlink(entry.target, location)
                _set_attributes(location, entry)
            else:
                os.mknod(location, FILE_TYPE_BITS[entry.type] | 0o600, os.makedev(*entry.device))
                _set_attributes(location, entry)
    # Last and from the inside out: filling a folder changes its times, and its mode may forbid to fill it.
    for entry in reversed(entries):
        if entry.type is EntryType.FOLDER:
            location = _location(base, entry)
            with on_this_node(f"writing {name_to_text(location)}"):
                _set_attributes(location, entry)
                if durable:
                    _sync_folder(location)


def _location(base: bytes, entry: Entry) -> bytes:
    return base if entry.path == ROOT else base + b"/" + entry.path


def _write_file(location: bytes, entry: Entry, source: Source, deadline: Deadline, durable: bool) -> None:
    descriptor = os.open(location, _NEW_FILE, 0o600)
    try:
        os.truncate(descriptor, entry.size)
        hasher = blake3()
        for start, length in entry.runs:
            offset = start
            for chunk in source(length):
                deadline.check()
                hasher.update(chunk)
                offset += _write(descriptor, chunk, offset)
        if hasher.digest() != entry.blake3:
            raise CorruptData(f"{name_to_text(entry.path)} does not have the bytes that were stored of it")
        _set_attributes(location, entry)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, chunk: memoryview, offset: int) -> int:
    written = 0
    while written < len(chunk):
        written += os.pwrite(descriptor, chunk[written:], offset + written)
    return written


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


def _sync_folder(location: bytes) -> None:
    descriptor = os.open(location, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
