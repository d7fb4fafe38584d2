"""Puts a captured writable layer into the root file system of a new container, before its first process runs.

It goes through the mounted root file system, not into the overlay's upper folder behind its back: the kernel then makes
its own marks for deletions. Nothing in a layer or in an image can make it touch a file outside: every step is taken
from an open folder to a name in it, and no symbolic link is ever followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from swarmkeep.agent.runtime.file_copy import copy_content
from swarmkeep.agent.runtime.layer_index import FILES, INDEX, Entry, EntryType, content_name, decode
from swarmkeep.errors import CorruptData, MissingData, RestoreFailed, StorageFull

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = {
    EntryType.FIFO: stat.S_IFIFO,
    EntryType.SOCKET: stat.S_IFSOCK,
    EntryType.CHARACTER: stat.S_IFCHR,
    EntryType.BLOCK: stat.S_IFBLK,
}


def apply(source: Path, root: Path) -> None:
    """Applies the layer in the folder `source` to the root file system at `root`.

    Repeating it after a failure gives the same result. Raises DataError when the layer is not whole, and StorageFull or
    RestoreFailed when the node cannot take it.
    """
    if not any(source.iterdir()):
        return
    try:
        with (source / INDEX).open(encoding="ascii") as index:
            _Applied(source / FILES, root).run(decode(index))
    except FileNotFoundError as error:
        raise MissingData(f"the writable layer in {source} is not whole: {error}") from error
    except UnicodeDecodeError as error:
        raise CorruptData(f"the index of the writable layer in {source} is damaged") from error
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise StorageFull(f"no space for the container's files in {root}; free some on Docker's disk") from error
        raise RestoreFailed(f"the container's files cannot be put into {root}: {error}") from error


class _Applied:
    def __init__(self, files: Path, root: Path) -> None:
        self._files = files
        self._root = os.open(root, _OPEN_FOLDER)
        self._parent_path: str | None = None
        self._parent = -1
        self._folders: list[Entry] = []

    def run(self, entries: Iterable[Entry]) -> None:
        try:
            for entry in entries:
                self._put(entry)
            # Making anything in a folder changes its time: children first.
            for entry in reversed(self._folders):
                self._settle_folder(entry)
        finally:
            self._leave_parent()
            os.close(self._root)

    def _put(self, entry: Entry) -> None:
        if entry.type is EntryType.FOLDER:
            self._folders.append(entry)
            if not entry.path:
                return
        parent, name = self._enter_parent(entry.path)
        if entry.type is EntryType.FOLDER:
            self._make_folder(parent, name, entry)
            return
        _remove(parent, name)
        if entry.type is EntryType.DELETED:
            return
        if entry.type is EntryType.LINK:
            self._make_link(parent, name, entry)
            return
        if entry.type is EntryType.SYMLINK:
            os.symlink(entry.target, name, dir_fd=parent)
        elif entry.type is EntryType.FILE:
            self._make_file(parent, name, entry)
        else:
            kind = _SPECIAL[entry.type]
            os.mknod(name, kind | 0o600, os.makedev(*entry.device), dir_fd=parent)
        _set_facts(parent, name, entry)

    def _make_folder(self, parent: int, name: str, entry: Entry) -> None:
        existing = _kind(parent, name)
        if existing is not None and (entry.replaces or existing != stat.S_IFDIR):
            _remove(parent, name)
            existing = None
        if existing is None:
            os.mkdir(name, 0o700, dir_fd=parent)

    def _make_link(self, parent: int, name: str, entry: Entry) -> None:
        folder, _, base = entry.target.rpartition("/")
        other = self._open_folder(folder)
        try:
            os.link(base, name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(other)

    def _make_file(self, parent: int, name: str, entry: Entry) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            if entry.content is not None:
                _write_all(target, entry.content)
                return
            source = os.open(self._files / content_name(entry.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(source).st_size != entry.size:
                    raise CorruptData(f"the content of {entry.path} in the writable layer has another length")
                copy_content(source, target, entry.size)
            finally:
                os.close(source)
        finally:
            os.close(target)

    def _settle_folder(self, entry: Entry) -> None:
        if not entry.path:
            _set_facts_of(f"/proc/self/fd/{self._root}", entry)
            return
        parent, name = self._enter_parent(entry.path)
        _set_facts(parent, name, entry)

    def _enter_parent(self, path: str) -> tuple[int, str]:
        """The open folder that holds `path`, and its name there. Neighbours mostly follow each other."""
        folder, _, name = path.rpartition("/")
        if folder != self._parent_path:
            self._leave_parent()
            self._parent = self._open_folder(folder)
            self._parent_path = folder
        return self._parent, name

    def _leave_parent(self) -> None:
        if self._parent_path is not None:
            os.close(self._parent)
            self._parent_path = None

    def _open_folder(self, path: str) -> int:
        handle = os.dup(self._root)
        for name in path.split("/") if path else ():
            try:
                inner = os.open(name, _OPEN_FOLDER, dir_fd=handle)
            finally:
                os.close(handle)
            handle = inner
        return handle


def _set_facts(parent: int, name: str, entry: Entry) -> None:
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    path = f"/proc/self/fd/{parent}/{name}"
    if entry.type is not EntryType.SYMLINK:
        # A path handle is no open file: a device stays untouched, and a link is not followed.
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{handle}", entry.mode)
        finally:
            os.close(handle)
    _set_xattrs(path, entry, follow=False)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _set_facts_of(path: str, entry: Entry) -> None:
    os.chown(path, entry.uid, entry.gid)
    os.chmod(path, entry.mode)
    _set_xattrs(path, entry, follow=True)
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def _set_xattrs(path: str, entry: Entry, *, follow: bool) -> None:
    if entry.type is EntryType.FOLDER:
        for name in os.listxattr(path, follow_symlinks=follow):
            if name not in entry.xattrs and not name.startswith(("trusted.overlay.", "security.")):
                with contextlib.suppress(OSError):  # made and guarded by the file system itself
                    os.removexattr(path, name, follow_symlinks=follow)
    for name, value in entry.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=follow)


def _write_all(target: int, content: bytes) -> None:
    while content:
        content = content[os.write(target, content) :]


def _kind(parent: int, name: str) -> int | None:
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


def _remove(parent: int, name: str) -> None:
    """Removes whatever is there, with all below it."""
    kind = _kind(parent, name)
    if kind is None:
        return
    if kind != stat.S_IFDIR:
        os.unlink(name, dir_fd=parent)
        return
    handle = os.open(name, _OPEN_FOLDER, dir_fd=parent)
    try:
        for below in os.listdir(handle):
            _remove(handle, below)
    finally:
        os.close(handle)
    os.rmdir(name, dir_fd=parent)
