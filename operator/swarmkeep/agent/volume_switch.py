"""Puts a version's volume in the place of what a volume of this node has, and never loses what was there.

The new content is made whole beside the old one, under the name that the old one will have; then the two change names
in one step. So whoever dies anywhere leaves the old content or the new one, and never a part. The journal says which of
the folders is which; without it nothing is ever removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.room import require_room
from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.exchange import exchange, sync_file_system
from swarmkeep.agent.runtime.same_content import is_same
from swarmkeep.agent.runtime.volumes import Volume
from swarmkeep.errors import RestoreFailed, StorageFull
from swarmkeep.model.ident import Ref

NEW = ".swarmkeep-new"
BEFORE = ".swarmkeep-before-"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose content a volume has."""

    workload: Ref
    service_id: str
    """A service that was made anew under the same name is another one."""

    def wire(self) -> dict[str, str]:
        """As the journal has it."""
        return {"workload": str(self.workload), "service": self.service_id}

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> Owner:
        """Reads it back."""
        return cls(Ref.parse(raw["workload"]), raw["service"])


@dataclass(slots=True)
class Put:
    """A version's content of one volume, on its way to its place."""

    owner: Owner
    version: int
    volume: Volume
    same: bool = False
    """The volume has that very content already."""
    aside: Path | None = None
    """Where the earlier content is, once it is there."""
    known: bool = True
    """Whether the earlier content was of the same workload, or nothing."""
    before: dict[str, Any] | None = None
    """What the journal said before."""


class VolumeSwitch:
    """All calls may be repeated after a death at any step. They take long, and are for a thread.

    The journal has for each volume whose content it has (`workload`, `service`) in the folder of which number
    (`inode`); which earlier contents of the same workload lie beside it (`aside`), and which of them is the first since
    the last version (`first`); and what is being done (`putting`).
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._records = dict(journal.items())
        self._lock = threading.Lock()

    def taken(self, owner: Owner, path: Path, inode: int) -> None:
        """A version has the content of the folder with that number: it is the workload's, and safe in storage."""
        with self._lock:
            self._write(path, {**self._of(owner, path), "inode": inode, "first": None})

    def prepare(self, owner: Owner, version: int, volume: Volume, captured: Path) -> Put:
        """Makes the content of a captured volume beside the volume; nothing of this is to be seen in it.

        Raises DataError, StorageFull, RestoreFailed.
        """
        with self._lock, _on_this_node(volume):
            self._settle(volume.path)
            new = _beside(volume.path, NEW)
            shutil.rmtree(new, ignore_errors=True)
            needed = sum(path.stat().st_size for path in captured.rglob("*") if path.is_file())
            require_room(volume.path.parent, needed, f"{volume} of {owner.workload} version {version}")
            new.mkdir(mode=0o700)
            layer.apply(captured, new)
            put = Put(owner, version, volume)
            if is_same(volume.path, new):
                put.same = True
                _remove(new)
            else:
                # A power cut must not leave files that have their names and not their content.
                sync_file_system(new)
            return put

    def switch(self, put: Put) -> None:
        """Puts what was prepared in its place, in one step. Raises StorageFull, RestoreFailed; then nothing is changed.

        Nothing may have the volume mounted.
        """
        path = put.volume.path
        with self._lock, _on_this_node(put.volume):
            record = put.before = self._records.get(str(path))
            old = path.stat().st_ino
            if put.same:
                self._write(path, {**self._of(put.owner, path), "inode": old})
                return
            put.known = _is_empty(path) or bool(record and record["inode"] == old and _is_of(put.owner, record))
            aside = _free(_beside(path, f"{BEFORE}{_words(put.owner.workload)}-v{put.version}"))
            new = _beside(path, NEW)
            putting = {"owner": put.owner.wire(), "inode": new.stat().st_ino, "aside": aside.name, "known": put.known}
            self._write(path, {**(record or {"inode": 0}), "putting": putting})
            new.rename(aside)
            try:
                exchange(path, aside)
            except OSError:
                self._settle(path)
                raise
            put.aside = aside
            self._settle(path)

    def put_back(self, put: Put) -> None:
        """Undoes `switch`, since the process did not come up. Raises StorageFull, RestoreFailed."""
        path, aside = put.volume.path, put.aside
        if aside is None:
            return
        with self._lock, _on_this_node(put.volume):
            putting = {"inode": aside.stat().st_ino, "aside": aside.name, "before": put.before}
            self._write(path, {**self._records[str(path)], "putting": putting})
            exchange(path, aside)
            self._settle(path)
            put.aside = None

    def confirm(self, put: Put) -> None:
        """The process came up: lets go of earlier contents that nobody needs. Never raises."""
        path = put.volume.path
        with self._lock, contextlib.suppress(OSError):
            record = self._records.get(str(path))
            if record is None:
                return
            there = [name for name in record["aside"] if path.with_name(name).exists()]
            full = [name for name in there if not _is_empty(path.with_name(name))]
            # The content from before the trouble began, and the last: tries in between differ by some seconds only.
            keep = [name for name in full if name in (record["first"], full[-1])]
            for name in there:
                if name not in keep:
                    _remove(path.with_name(name))
            self._write(path, {**record, "aside": keep})

    def _settle(self, path: Path) -> None:
        """Writes down what was done or, after a death in the middle of it, finishes it or takes it back."""
        known = self._records.get(str(path))
        if known is None or "putting" not in known:
            return
        putting = known["putting"]
        record: dict[str, Any] | None = {key: value for key, value in known.items() if key != "putting"}
        aside = path.with_name(putting["aside"])
        done = path.stat().st_ino == putting["inode"]
        if "before" in putting:
            if done:
                record = putting["before"]
        elif done:
            record = self._of(Owner.parse(putting["owner"]), path) | {"inode": putting["inode"]}
            if putting["known"]:
                record["aside"] = [*record["aside"], aside.name]
                if not _is_empty(aside):
                    record["first"] = record["first"] or aside.name
        elif not known["inode"]:
            record = None
        # It holds what a version has, if it is the new content that did not come to its place, or had to leave it.
        useless = done if "before" in putting else aside.exists() and aside.stat().st_ino == putting["inode"]
        self._write(path, record)
        if useless:
            _remove(aside)

    def _of(self, owner: Owner, path: Path) -> dict[str, Any]:
        """The record of the volume if it is the owner's, else a new one."""
        record = self._records.get(str(path))
        if record is not None and _is_of(owner, record):
            return {key: value for key, value in record.items() if key != "putting"}
        return {**owner.wire(), "inode": 0, "aside": [], "first": None}

    def _write(self, path: Path, record: dict[str, Any] | None) -> None:
        if record is None:
            self._records.pop(str(path), None)
            self._journal.remove(str(path))
        elif self._records.get(str(path)) != record or "putting" in record:
            self._records[str(path)] = record
            self._journal.write(str(path), record)


def _is_of(owner: Owner, record: Mapping[str, Any]) -> bool:
    return {key: record.get(key) for key in ("workload", "service")} == owner.wire()


@contextmanager
def _on_this_node(volume: Volume) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space for {volume} beside {volume.path}; free some") from error
        why = "its file system cannot exchange two folders" if error.errno == errno.EINVAL else str(error)
        raise RestoreFailed(f"{volume} cannot be put into {volume.path}: {why}") from error


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _free(path: Path) -> Path:
    """The first of this name and those with a number behind it that is not taken."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _words(workload: Ref) -> str:
    return f"{workload.namespace}_{workload.name}"


def _is_empty(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def _remove(folder: Path) -> None:
    # What does not go now lies beside the volume and harms nobody.
    shutil.rmtree(folder, ignore_errors=True)
