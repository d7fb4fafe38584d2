"""Puts a finished folder in place of an old one, and never a half finished one."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmkeep.store.os_errors import on_this_node


@contextmanager
def replacing(target: Path, *, durable: bool) -> Iterator[Path]:
    """Gives a new folder beside `target` to fill; afterwards it is `target`, unless something was raised.

    What was at `target` goes only then. A process that dies in between leaves a hidden folder beside it, which the next
    call for the same target removes.
    """
    new = target.with_name(f".{target.name}.new-{secrets.token_hex(8)}")
    with on_this_node(f"preparing {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        new.mkdir(mode=0o700)
        lock = _lock(new)
    try:
        yield new
        with on_this_node(f"putting {target} in place"):
            old = target.with_name(f".{target.name}.old-{secrets.token_hex(8)}")
            if os.path.lexists(target):
                target.rename(old)
            new.rename(target)
            if durable:
                _sync(target.parent)
            _remove(old)
    finally:
        _remove(new)
        if lock is not None:
            os.close(lock)


def _remove_leftovers(target: Path) -> None:
    for kind in ("new", "old"):
        for left in target.parent.glob(f".{_literal(target.name)}.{kind}-" + "[0-9a-f]" * 16):
            lock = _lock(left)
            if lock is not None:
                _remove(left)
                os.close(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that keeps others from removing `folder` as a leftover; None when somebody has it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
