"""Writes keys and certificates so that a crash leaves either the old file or the new one, and no key is ever public."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from swarmkeep.errors import HostError

KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Replaces `path` at once, synced to disk, with `mode`. Raises HostError naming the file."""
    temporary: str | None = None
    try:
        # mkstemp makes the file with mode 0600: a key is never readable by others, not even for an instant.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Makes a folder that only its owner may enter, unless it exists. Raises HostError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"cannot make the folder {path}: {error.strerror}") from error


def read_whole(path: Path, what: str) -> bytes:
    """The content of `path`; `what` names it in the HostError that is raised when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise HostError(f"cannot read {what} {path}: {error.strerror}") from error
