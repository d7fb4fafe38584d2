"""The marks of those who write a version now; prune.py says what they are for.

A writer that died leaves its mark. It counts until nobody can be at work any more, then `sweep` removes it.
"""

from __future__ import annotations

import json

from swarmkeep.errors import CorruptData, NotFound
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.keys import VersionKey, parse_writer_key, writer_key, writers_prefix
from swarmkeep.store.prune import Writer

_MAX_BYTES = 200


def leave_mark(blobs: BlobStore, key: VersionKey, attempt: str, base: int | None) -> None:
    """Marks an attempt to write a version that may lean on the version `base`. Raises StorageFull, Unavailable."""
    content = json.dumps({"version": key.version, "base": base}, sort_keys=True).encode()
    blobs.put(writer_key(key.workload, attempt), [content])


def remove_mark(blobs: BlobStore, workload: str, attempt: str) -> None:
    """Takes the mark of an attempt away again."""
    blobs.delete(writer_key(workload, attempt))


def list_writers(blobs: BlobStore, workload: str, *, since: float) -> list[Writer]:
    """Who writes versions of the workload; marks from before `since` (seconds since the epoch) are of the dead.

    Raises CorruptData, Unavailable.
    """
    writers = []
    for info in blobs.list(writers_prefix(workload)):
        parsed = parse_writer_key(info.key)
        if parsed is None or info.modified_at < since:
            continue
        try:
            content = blobs.get(info.key, _MAX_BYTES)
        except NotFound:
            # It has finished since: its manifest will be listed.
            continue
        writers.append(_parse(parsed[1], content, info.key))
    return writers


def _parse(attempt: str, content: bytes, key: str) -> Writer:
    try:
        raw = json.loads(content)
        version, base = raw["version"], raw["base"]
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptData(f"{key} is no mark of a writer: remove it when nobody writes that workload") from error
    if type(version) is not int or not (base is None or type(base) is int):
        raise CorruptData(f"{key} is no mark of a writer: remove it when nobody writes that workload")
    return Writer(attempt, version, base)
