"""What the agent must remember over its own death: small JSON files, each written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.errors import StorageFull

log = structlog.get_logger(__name__)


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces `path` by `data`, on disk when this returns. Raises StorageFull, or OSError for anything else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise StorageFull(f"cannot write {path}: no space left; free some, the agent tries again") from error
        raise


class Journal:
    """A folder of JSON objects by key. Keys may hold any character."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unwritten: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, key: str, value: dict[str, Any]) -> None:
        """Remembers `value` under `key`.

        A disk that is full must not stop the agent, and with it the node's lease: what cannot be written is kept in
        memory and written with the next call that can.
        """
        was_whole = not self._unwritten
        self._unwritten[key] = value
        try:
            for waiting, content in list(self._unwritten.items()):
                record = json.dumps({"key": waiting, "value": content}, separators=(",", ":"))
                write_atomically(self._path(waiting), record.encode())
                del self._unwritten[waiting]
        except (StorageFull, OSError) as error:
            if was_whole:
                log.error("the journal lives in memory only until this is mended", error=str(error))

    def remove(self, key: str) -> None:
        """Forgets `key`; nothing happens when it is not there."""
        self._unwritten.pop(key, None)
        self._path(key).unlink(missing_ok=True)

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All that is remembered, in the order of the keys.

        A file that cannot be read is set aside under the ending `.damaged`: everything in a journal can also be found
        out from Docker, the storage and the API, only later.
        """
        for path in sorted(self._folder.glob("*.json")):
            try:
                record = json.loads(path.read_bytes())
                key, value = record["key"], record["value"]
                if not isinstance(key, str) or not isinstance(value, dict):
                    raise TypeError("not a record")
            except (ValueError, KeyError, TypeError) as error:
                log.error("set a damaged journal file aside", path=str(path), error=str(error))
                path.rename(path.with_suffix(".damaged"))
                continue
            yield key, value

    def _path(self, key: str) -> Path:
        # Every byte that is not plain becomes =XX, so that no key can leave the folder or collide with another.
        name = "".join(chr(byte) if chr(byte).isalnum() or byte in b"-_." else f"={byte:02X}" for byte in key.encode())
        return self._folder / f"{name}.json"
