"""Writes down a container's writable layer. Runs while the container stands still, so it is made to be fast."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from swarmkeep.agent.runtime.copied_ahead import Facts, facts_of
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


class FolderUnsupported(DumpFailed):
    """A volume has something in it that cannot be carried along."""

    reason = "VolumeUnsupported"


def capture(upper: Path, target: Path, check: Callable[[], None] = no_check) -> int:
    """Captures overlay2's upper folder into the new folder `target`; returns the bytes of content.

    An untouched layer leaves `target` empty. `check` is called before each entry and each chunk of a file, and raises
    when it has taken too long. Raises LayerUnsupported, OSError, or what `check` does, with nothing that looks whole:
    the index is put in place last.
    """
    target.mkdir(parents=True)
    (target / FILES).mkdir()
    walk = _Walk(target / FILES, check)
    if _write_index(walk, upper, target) == 1:
        # The root alone: nothing was ever written.
        (target / INDEX).unlink()
    if not any((target / FILES).iterdir()):
        (target / FILES).rmdir()
    return walk.content_bytes


def capture_folder(
    source: Path, target: Path, ahead: Mapping[str, Facts] | None = None, check: Callable[[], None] = no_check
) -> int:
    """Captures a folder that is no layer, as a volume: nothing in it stands for a deletion, and its root counts too.

    `target` may have `files/` already, with what was copied `ahead` when a file had these facts: a file that still has
    them is not copied again. Otherwise as `capture`. Raises OSError, FolderUnsupported, or what `check` does.
    """
    files = target / FILES
    files.mkdir(parents=True, exist_ok=True)
    walk = _Walk(files, check, is_layer=False, ahead=ahead or {})
    _write_index(walk, source, target)
    for path in files.iterdir():
        if path.name not in walk.contents:
            path.unlink()
    return walk.content_bytes


def _write_index(walk: _Walk, source: Path, target: Path) -> int:
    """Returns how many entries it has."""
    temporary = target / f".{INDEX}"
    count = 0
    root = os.open(source, _OPEN_FOLDER)
    try:
        with temporary.open("w", encoding="ascii") as index:
            index.write(encode_head() + "\n")
            for entry in walk.folder(root, ""):
                index.write(encode(entry) + "\n")
                count += 1
    finally:
        os.close(root)
    temporary.rename(target / INDEX)
    return count


class _Walk:
    def __init__(
        self,
        files: Path,
        check: Callable[[], None],
        *,
        is_layer: bool = True,
        ahead: Mapping[str, Facts] | None = None,
    ) -> None:
        self.content_bytes = 0
        self.contents: set[str] = set()
        """Names of what is in `files`."""
        self._is_layer = is_layer
        self._ahead = ahead or {}
        self._device: int | None = None
        self._files = files
        self._check = check
        self._links: dict[tuple[int, int], str] = {}

    def folder(self, handle: int, path: str) -> Iterator[Entry]:
        """The entry of an open folder and of all below it."""
        facts = os.fstat(handle)
        if self._device is None:
            self._device = facts.st_dev
        elif facts.st_dev != self._device and not self._is_layer:
            raise FolderUnsupported(
                f"another file system is mounted at {path} inside of it: let the container mount that by itself"
            )
        xattrs = _xattrs(f"/proc/self/fd/{handle}", follow=True)
        overlay = self._take_overlay(xattrs)
        if "redirect" in overlay:
            raise LayerUnsupported(
                f"the folder /{path} was renamed in a way that only the overlay file system can undo; switch "
                "redirect_dir off (module overlay) and recreate the container"
            )
        yield _entry(path, EntryType.FOLDER, facts, xattrs, replaces=overlay.get("opaque") == b"y")
        for name in sorted(os.listdir(handle)):
            below = f"{path}/{name}" if path else name
            if not self._is_layer or below not in _MANAGED:
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
        if self._is_layer and kind == stat.S_IFCHR and facts.st_rdev == 0:
            yield Entry(path, EntryType.DELETED)
            return
        xattrs = _xattrs(f"/proc/self/fd/{parent}/{name}", follow=False)
        overlay = self._take_overlay(xattrs)
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
            found = os.fstat(source)
            size = found.st_size
            if size <= INLINE_LIMIT:
                content = os.read(source, INLINE_LIMIT)
                size = len(content)
            else:
                self._content(source, path, found)
        finally:
            os.close(source)
        self.content_bytes += size
        return _entry(path, EntryType.FILE, facts, xattrs, size=size, content=content)

    def _content(self, source: int, path: str, found: os.stat_result) -> None:
        name = content_name(path)
        self.contents.add(name)
        if self._ahead.get(path) == facts_of(found):
            return
        if not self._is_layer:
            (self._files / name).unlink(missing_ok=True)
        target = os.open(self._files / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            copy_content(source, target, found.st_size, self._check)
        finally:
            os.close(target)

    def _take_overlay(self, xattrs: dict[str, bytes]) -> dict[str, bytes]:
        """Takes out the overlay file system's own attributes, under their last word."""
        found: dict[str, bytes] = {}
        if not self._is_layer:
            return found
        for name in list(xattrs):
            for prefix in _OVERLAY_PREFIXES:
                if name.startswith(prefix):
                    found[name.removeprefix(prefix)] = xattrs.pop(name)
                    break
        return found


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
