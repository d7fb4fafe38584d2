"""Writes down a container's writable layer. Runs while the container stands still, so it is made to be fast."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from swarmkeep.agent.runtime.file_copy import copy_content, no_check
from swarmkeep.agent.runtime.layer_index import FILES, INDEX, Entry, EntryType, content_name, encode, encode_head
from swarmkeep.errors import DumpFailed

INLINE_LIMIT = 4096
"""Files up to this many bytes are kept in the index itself: one file less to make."""
_OVERLAY_PREFIXES = ("trusted.overlay.", "user.overlay.")
_NOT_CARRIED = frozenset({"security.selinux"})
"""Labels that belong to the container, not to the file: the new container gets its own."""
_MANAGED = frozenset({".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf"})
"""What Docker makes anew for every container."""
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = {
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFSOCK: EntryType.SOCKET,
    stat.S_IFCHR: EntryType.CHARACTER,
    stat.S_IFBLK: EntryType.BLOCK,
}


class LayerUnsupported(DumpFailed):
    """The overlay file system keeps something in another way than SwarmKeep can carry along."""

    reason = "LayerUnsupported"


def capture(upper: Path, target: Path, check: Callable[[], None] = no_check) -> int:
    """Captures overlay2's upper folder into the new folder `target`; returns the bytes of content.

    An untouched layer leaves `target` empty. `check` is called before each entry and each chunk of a file, and raises
    when it has taken too long. Raises LayerUnsupported, OSError, or what `check` does, with nothing that looks whole:
    the index is put in place last.
    """
    target.mkdir(parents=True)
    (target / FILES).mkdir()
    walk = _Walk(target / FILES, check)
    temporary = target / f".{INDEX}"
    count = 0
    root = os.open(upper, _OPEN_FOLDER)
    try:
        with temporary.open("w", encoding="ascii") as index:
            index.write(encode_head() + "\n")
            for entry in walk.folder(root, ""):
                index.write(encode(entry) + "\n")
                count += 1
    finally:
        os.close(root)
    if count == 1:
        # The root alone: nothing was ever written.
        temporary.unlink()
    else:
        temporary.rename(target / INDEX)
    if not any((target / FILES).iterdir()):
        (target / FILES).rmdir()
    return walk.content_bytes


class _Walk:
    def __init__(self, files: Path, check: Callable[[], None]) -> None:
        self.content_bytes = 0
        self._files = files
        self._check = check
        self._links: dict[tuple[int, int], str] = {}

    def folder(self, handle: int, path: str) -> Iterator[Entry]:
        """The entry of an open folder and of all below it."""
        facts = os.fstat(handle)
        xattrs = _xattrs(f"/proc/self/fd/{handle}", follow=True)
        overlay = _take_overlay(xattrs)
        if "redirect" in overlay:
            raise LayerUnsupported(
                f"the folder /{path} was renamed in a way that only the overlay file system can undo; switch "
                "redirect_dir off (module overlay) and recreate the container"
            )
        yield _entry(path, EntryType.FOLDER, facts, xattrs, replaces=overlay.get("opaque") == b"y")
        for name in sorted(os.listdir(handle)):
            below = f"{path}/{name}" if path else name
            if below not in _MANAGED:
                yield from self._below(handle, name, below)

    def _below(self, parent: int, name: str, path: str) -> Iterator[Entry]:
        self._check()
        facts = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = stat.S_IFMT(facts.st_mode)
        if kind == stat.S_IFDIR:
            handle = os.open(name, _OPEN_FOLDER, dir_fd=parent)
            try:
                yield from self.folder(handle, path)
            finally:
                os.close(handle)
            return
        if kind == stat.S_IFCHR and facts.st_rdev == 0:
            yield Entry(path, EntryType.DELETED)
            return
        xattrs = _xattrs(f"/proc/self/fd/{parent}/{name}", follow=False)
        overlay = _take_overlay(xattrs)
        if "whiteout" in overlay:
            yield Entry(path, EntryType.DELETED)
            return
        if "metacopy" in overlay:
            raise LayerUnsupported(
                f"/{path} has its attributes in the writable layer and its content in the image; switch metacopy off "
                "(module overlay) and recreate the container"
            )
        identity = (facts.st_dev, facts.st_ino)
        if facts.st_nlink > 1:
            first = self._links.setdefault(identity, path)
            if first != path:
                yield _entry(path, EntryType.LINK, facts, {}, target=first)
                return
        if kind == stat.S_IFLNK:
            yield _entry(path, EntryType.SYMLINK, facts, xattrs, target=os.readlink(name, dir_fd=parent))
        elif kind == stat.S_IFREG:
            yield self._file(parent, name, path, facts, xattrs)
        else:
            device = (os.major(facts.st_rdev), os.minor(facts.st_rdev))
            yield _entry(path, _SPECIAL[kind], facts, xattrs, device=device)

    def _file(self, parent: int, name: str, path: str, facts: os.stat_result, xattrs: dict[str, bytes]) -> Entry:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        try:
            content: bytes | None = None
            size = os.fstat(source).st_size
            if size <= INLINE_LIMIT:
                content = os.read(source, INLINE_LIMIT)
                size = len(content)
            else:
                target = os.open(
                    self._files / content_name(path), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
                )
                try:
                    copy_content(source, target, size, self._check)
                finally:
                    os.close(target)
        finally:
            os.close(source)
        self.content_bytes += size
        return _entry(path, EntryType.FILE, facts, xattrs, size=size, content=content)


def _entry(
    path: str,
    kind: EntryType,
    facts: os.stat_result,
    xattrs: dict[str, bytes],
    *,
    replaces: bool = False,
    target: str = "",
    device: tuple[int, int] = (0, 0),
    size: int = 0,
    content: bytes | None = None,
) -> Entry:
    return Entry(
        path=path,
        type=kind,
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        mtime_ns=facts.st_mtime_ns,
        xattrs=xattrs,
        replaces=replaces,
        target=target,
        device=device,
        size=size,
        content=content,
    )


def _xattrs(path: str, *, follow: bool) -> dict[str, bytes]:
    return {
        name: os.getxattr(path, name, follow_symlinks=follow)
        for name in os.listxattr(path, follow_symlinks=follow)
        if name not in _NOT_CARRIED
    }


def _take_overlay(xattrs: dict[str, bytes]) -> dict[str, bytes]:
    """Takes out the overlay file system's own attributes, under their last word."""
    found = {}
    for name in list(xattrs):
        for prefix in _OVERLAY_PREFIXES:
            if name.startswith(prefix):
                found[name.removeprefix(prefix)] = xattrs.pop(name)
                break
    return found
