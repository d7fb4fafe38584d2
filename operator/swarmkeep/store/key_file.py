"""Reads a location's key files: 32 random bytes in base64, on one line. `openssl rand -base64 32` writes one."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from swarmkeep.errors import KeyFileUnusable
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.sealing import KEY_BYTES

_MAX_BYTES = 4096


def load_keyring(current: Path, previous: Sequence[Path] = ()) -> tuple[Keyring, tuple[str, ...]]:
    """The keys in those files, and a sentence for each file that others can read. Raises KeyFileUnusable."""
    keys, exposed = [], []
    for path in (current, *previous):
        key, warning = read_key_file(path)
        keys.append(key)
        if warning:
            exposed.append(warning)
    return Keyring(keys[0], keys[1:]), tuple(exposed)


def read_key_file(path: Path) -> tuple[LocationKey, str]:
    """The key in a file, and who else can read it; empty when nobody. Raises KeyFileUnusable.

    Empty lines and lines that begin with `#` do not count.
    """
    content, status = _read(path)
    return parse_key(content, path), _exposure(path, status)


def parse_key(content: bytes, path: Path) -> LocationKey:
    """The key that the content of a key file is. Raises KeyFileUnusable."""
    lines = [line.strip() for line in content.splitlines()]
    try:
        (line,) = (line for line in lines if line and not line.startswith(b"#"))
        secret = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    # What it holds is never shown: it may be another secret, given by mistake.
    if len(secret) != KEY_BYTES or len(set(secret)) == 1:
        raise KeyFileUnusable(
            f"key file {path} holds no key: it has to be one line of base64 that says {KEY_BYTES} random bytes; "
            f"`openssl rand -base64 {KEY_BYTES}` makes a new one"
        )
    return LocationKey(secret, str(path))


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        # Not blocking: what stands there may be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileUnusable(f"key file {path} is no regular file")
            return os.read(descriptor, _MAX_BYTES), status
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise KeyFileUnusable(
            f"there is no key file {path} on this node: put the one there that the other nodes have"
        ) from None
    except OSError as error:
        raise KeyFileUnusable(f"key file {path} cannot be read: {error.strerror}") from error


def _exposure(path: Path, status: os.stat_result) -> str:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return f"{path} is open to others than its owner (mode {mode:04o}): chmod 600"
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {status.st_uid}, who can read it: chown root"
    return ""
