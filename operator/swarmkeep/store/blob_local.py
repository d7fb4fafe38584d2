"""Blobs as files below one folder: a local disk, or a folder that all nodes mount.

A blob is written to a temporary file, synced, and then linked under its name: a link fails where a name is taken, on
NFS too, which a rename does not. The folder itself is never created here: where it is missing, so is its mount.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from swarmkeep.errors import Conflict, CorruptData, NotFound, Unavailable
from swarmkeep.store.blob import BlobInfo, check_key, check_prefix, check_range
from swarmkeep.store.os_errors import on_storage, storage_error

_UNFINISHED = ".unfinished"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MKDIR_TRIES = 5


class LocalBlobStore:
    """A BlobStore in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.description = f"folder {root}"

    def put(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        target = self._path(key)
        with on_storage(self.description):
            self._require_root()
            if target.exists():
                raise self._taken(key)
            unfinished = self._root / _UNFINISHED
            unfinished.mkdir(mode=0o700, exist_ok=True)
            temporary = unfinished / secrets.token_hex(16)
            try:
                size = _write_synced(temporary, chunks)
                self._link(temporary, target, key)
            finally:
                # Storage that is gone leaves the file to discard_unfinished; the error that counts is the first one.
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
        return size

    def get(self, key: str, max_bytes: int) -> bytes:
        with self._open(key) as (descriptor, size):
            if size > max_bytes:
                raise CorruptData(f"{self.description}: {key} has {size} bytes, more than the {max_bytes} that it may")
            return _read_exactly(descriptor, 0, size, key, self.description)

    def read(self, key: str, offset: int, length: int) -> bytes:
        with self._open(key) as (descriptor, size):
            check_range(key, offset, length, size, self.description)
            return _read_exactly(descriptor, offset, length, key, self.description)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        check_prefix(prefix)
        with on_storage(self.description):
            self._require_root()
        for above in reversed(Path(prefix).parents):
            _freshen(self._root / above)
        pending = [prefix]
        while pending:
            folder = pending.pop()
            _freshen(self._root / folder)
            with on_storage(self.description):
                found, below = _scan(self._root / folder, folder)
            pending += below
            yield from found

    def delete(self, key: str) -> None:
        target = self._path(key)
        with on_storage(self.description):
            self._require_root()
            try:
                target.unlink()
            except FileNotFoundError:
                return
            _sync_folder(target.parent)
            self._remove_empty(target.parent)

    def discard_unfinished(self, older_than: float) -> int:
        removed = 0
        with on_storage(self.description):
            self._require_root()
            found, _ = _scan(self._root / _UNFINISHED, "")
            for info in found:
                if info.modified_at < older_than:
                    (self._root / _UNFINISHED / info.key).unlink(missing_ok=True)
                    removed += 1
        return removed

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise Unavailable(f"{self.description} does not exist on this node; create it, or mount it there")

    def _taken(self, key: str) -> Conflict:
        return Conflict(f"{self.description}: {key} exists already")

    def _open(self, key: str) -> _OpenBlob:
        return _OpenBlob(self._path(key), key, self.description)

    def _link(self, temporary: Path, target: Path, key: str) -> None:
        for _ in range(_MKDIR_TRIES):
            self._make_folders(target.parent)
            try:
                os.link(temporary, target, follow_symlinks=False)
            except FileNotFoundError:
                # A delete next door has just removed the folder because it was empty.
                continue
            except FileExistsError:
                # An NFS server that repeats an answered request says "exists" of the link that it has made itself.
                if temporary.stat().st_nlink != 2:
                    raise self._taken(key) from None
            try:
                _sync_folder(target.parent)
            except OSError as error:
                raise Unavailable(
                    f"{self.description}: nobody knows whether {key} has reached the disk: {error}"
                ) from error
            return
        raise Unavailable(f"{self.description}: the folder of {key} vanishes again and again")

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while folder != self._root and not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            with suppress(FileNotFoundError):
                each.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(each.parent)

    def _remove_empty(self, folder: Path) -> None:
        # The top folders stay: they are few, and puts next door would only make them again.
        while len(folder.relative_to(self._root).parts) > 1:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


class _OpenBlob:
    """An open blob and its size, as a context."""

    def __init__(self, path: Path, key: str, where: str) -> None:
        self._path, self._key, self._where = path, key, where
        self._descriptor = -1

    def __enter__(self) -> tuple[int, int]:
        try:
            self._descriptor = os.open(self._path, _READ_FILE)
            status = os.fstat(self._descriptor)
        except (FileNotFoundError, NotADirectoryError):
            if not self._path.parents[len(Path(self._key).parts) - 1].is_dir():
                raise Unavailable(f"{self._where} does not exist on this node; create it, or mount it there") from None
            raise NotFound(f"{self._where}: {self._key} is not there") from None
        except OSError as error:
            raise storage_error(error, self._where) from error
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise CorruptData(f"{self._where}: {self._key} is no regular file")
        return self._descriptor, status.st_size

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _write_synced(path: Path, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
    descriptor = os.open(path, _NEW_FILE, 0o600)
    try:
        size = 0
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                written = os.write(descriptor, view)
                size += written
                view = view[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return size


def _read_exactly(descriptor: int, offset: int, length: int, key: str, where: str) -> bytes:
    with on_storage(where):
        parts = []
        missing = length
        while missing:
            part = os.pread(descriptor, missing, offset + length - missing)
            if not part:
                raise CorruptData(f"{where}: {key} ends {missing} bytes too early: it was cut short")
            parts.append(part)
            missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _scan(folder: Path, prefix: str) -> tuple[list[BlobInfo], list[str]]:
    """The blobs in one folder and the prefixes of the folders in it; a folder that is not there is empty."""
    found, below = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # Names that no key may have are not ours: lost+found's neighbours, NFS's .nfs files, .unfinished.
                if entry.name.startswith("."):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    below.append(f"{prefix}{entry.name}/")
                elif stat.S_ISREG(status.st_mode):
                    found.append(BlobInfo(f"{prefix}{entry.name}", status.st_size, status.st_mtime))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    return found, below


def _freshen(folder: Path) -> None:
    """Makes sure that what is listed next is what there is now.

    An NFS client answers from a listing that may be a minute old. When it changes the folder itself, the server's
    answer tells it whether others have changed it too. Where that is forbidden, nobody deletes by the listing either.
    """
    probe = folder / f".probe-{secrets.token_hex(8)}"
    with suppress(OSError):
        os.close(os.open(probe, _NEW_FILE, 0o600))
        probe.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
