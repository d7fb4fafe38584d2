"""A version on this node's disk and not yet in storage.

A final version is the only copy of its state from the moment at which CRIU ends the process. So its record is written
before the dump, as an intent, and afterwards only renamed: a step that a full disk cannot prevent. An agent that finds
an intent asks the dump itself whether it came to its end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.journal import write_atomically
from swarmkeep.errors import InvalidObject
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref, checkpoint_name
from swarmkeep.model.wire import format_time, parse_time

log = structlog.get_logger(__name__)

DAMAGED = "damaged"
_WORK = ".work"


class Progress(StrEnum):
    """How far a version is; the last part of its record's name."""

    INTENT = "intent"
    """Its dump may have been begun."""
    WHOLE = "staged"
    """Its dump came to its end: it is there as long as this boot of the node lasts."""
    SYNCED = "synced"
    """It has reached the disk: it is there after a power cut as well."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Everything that storing needs, so that it can go on after the agent's death."""

    workload: Ref
    policy: str
    location: str
    reason: Reason
    number: int
    checkpoint: str
    """Name of the Checkpoint object."""
    folder: Path
    """Holds image/ and layer/, and is what is stored."""
    taken_at: datetime
    spec_hash: str
    boot_id: str
    frozen_s: float | None
    """None when the agent died before it could measure that."""
    bytes: dict[str, int]
    facts: dict[str, Any]
    """Goes into the manifest. `dump` is of this dump alone: by it a version is known again, whatever its number."""
    status: dict[str, Any]
    """Of the Checkpoint object, as far as it is known before storing."""
    progress: Progress = Progress.INTENT

    @property
    def work(self) -> Path:
        """What runc and CRIU say about the dump; beside the folder, since it is not stored."""
        return self.folder.with_name(self.folder.name + _WORK)

    @property
    def epoch(self) -> int:
        """Of the claim under which it was taken."""
        return int(self.facts["epoch"])

    def measured(
        self, taken_at: datetime, frozen_s: float | None, bytes: dict[str, int], criu: dict[str, Any] | None
    ) -> Staged:
        """The same with what is known only after the dump; it is whole now."""
        figures: dict[str, Any] = {"takenAt": format_time(taken_at)}
        if frozen_s is not None:
            figures["frozenSeconds"] = round(frozen_s, 4)
        return replace(
            self,
            taken_at=taken_at,
            frozen_s=frozen_s,
            bytes=bytes,
            facts=self.facts | figures,
            status=self.status | figures | ({"criu": criu} if criu else {}),
            progress=Progress.WHOLE,
        )

    def numbered(self, number: int) -> Staged:
        """The same as another version; its folder keeps its name."""
        return replace(
            self,
            number=number,
            checkpoint=checkpoint_name(self.workload.name, number),
            status=self.status | {"version": number},
        )

    def save(self) -> None:
        """Makes it findable by `find_staged`, in place of what was saved of it before. Raises StorageFull, OSError.

        How far it is gets known even when there is no space for the rest.
        """
        self._rename_record()
        record = {
            "workload": str(self.workload),
            "policy": self.policy,
            "location": self.location,
            "reason": str(self.reason),
            "number": self.number,
            "checkpoint": self.checkpoint,
            "takenAt": format_time(self.taken_at),
            "specHash": self.spec_hash,
            "bootID": self.boot_id,
            "frozenSeconds": self.frozen_s,
            "bytes": self.bytes,
            "facts": self.facts,
            "status": self.status,
        }
        write_atomically(_record_path(self.folder, self.progress), json.dumps(record).encode())

    def sync(self) -> Staged:
        """Brings all of it to the disk, and then says so in its record. Raises OSError."""
        for path in [self.folder, *self.folder.rglob("*")]:
            if path.is_dir() or path.is_file():
                _sync(path)
        synced = replace(self, progress=Progress.SYNCED)
        synced._rename_record()
        _sync(self.folder.parent)
        return synced

    def drop_data(self) -> None:
        """Removes the data, which is in storage; the record stays."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def forget(self) -> None:
        """Takes back `save`."""
        for progress in Progress:
            _record_path(self.folder, progress).unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes all of it; may be stopped anywhere, since nobody finds what has no record."""
        self.forget()
        self.drop_data()

    def _rename_record(self) -> None:
        for progress in Progress:
            if progress is not self.progress:
                with suppress(FileNotFoundError):
                    _record_path(self.folder, progress).rename(_record_path(self.folder, self.progress))


def find_staged(staging: Path) -> Iterator[Staged]:
    """Versions that were saved and not forgotten, below the staging folder.

    A record that cannot be read is set aside, and its data is kept for whoever can make sense of it.
    """
    for path in sorted(staging.glob("*/*.json")):
        try:
            yield _read_record(path)
        except (OSError, ValueError, KeyError, TypeError, InvalidObject) as error:
            aside = path.with_suffix(f".{DAMAGED}")
            log.error(
                "a record of a final version is damaged; set it aside and kept its data: remove both when they are of "
                "no use any more",
                record=str(aside),
                error=repr(error),
            )
            path.rename(aside)


def is_taken(folder: Path) -> bool:
    """Whether something lies there, or a record says so."""
    return folder.exists() or any(folder.parent.glob(f"{folder.name}.*"))


def is_set_aside(folder: Path) -> bool:
    """Whether this is the data of a damaged record."""
    return any(folder.parent.glob(f"{folder.name.removesuffix(_WORK)}.*.{DAMAGED}"))


def _read_record(path: Path) -> Staged:
    name, progress = path.stem.rsplit(".", 1)
    raw = json.loads(path.read_bytes())
    return Staged(
        workload=Ref.parse(raw["workload"]),
        policy=raw["policy"],
        location=raw["location"],
        reason=Reason(raw["reason"]),
        number=int(raw["number"]),
        checkpoint=raw["checkpoint"],
        folder=path.with_name(name),
        taken_at=parse_time(raw["takenAt"]),
        spec_hash=raw["specHash"],
        boot_id=raw["bootID"],
        frozen_s=raw["frozenSeconds"],
        bytes=dict(raw["bytes"]),
        facts=dict(raw["facts"]),
        status=dict(raw["status"]),
        progress=Progress(progress),
    )


def _record_path(folder: Path, progress: Progress) -> Path:
    return folder.with_name(f"{folder.name}.{progress}.json")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
