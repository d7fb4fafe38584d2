"""The volumes and folders of its node that a container's versions take along: where they lie, and what cannot be done.

In a version's folder `volumes/` has an index, and for each volume a folder as layer_index describes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.containers import ContainerFacts
from swarmkeep.agent.runtime.copied_ahead import Facts, copy_ahead
from swarmkeep.agent.runtime.layer_capture import INLINE_LIMIT
from swarmkeep.agent.runtime.layer_index import FILES, content_name
from swarmkeep.agent.runtime.traits import read_mount
from swarmkeep.errors import CorruptData, DumpFailed, MissingData, NewerFormat
from swarmkeep.plan.volumes import is_covered
from swarmkeep.store.os_errors import on_this_node

FOLDER = "volumes"
"""In a version's folder."""
INDEX = "index.json"
FORMAT = "swarmkeep-volumes"
VERSION = 1


class VolumeUnsupported(DumpFailed):
    """A volume that the policy names cannot be taken along, or not be put back here."""

    reason = "VolumeUnsupported"


@dataclass(frozen=True, slots=True)
class Volume:
    """One of them on this node."""

    type: str
    """`volume` or `bind`."""
    source: str
    """The volume's name, or the folder's path as the policy names it."""
    target: str
    """Where the container sees it."""
    path: Path
    """Where its content lies; no part of it is a symbolic link."""
    inode: int
    """Of that folder."""

    @property
    def key(self) -> str:
        """Its folder below `volumes/`: the same in every version."""
        return content_name(f"{self.type}:{self.source}")

    def __str__(self) -> str:
        return f"volume {self.source}" if self.type == "volume" else f"folder {self.source}"


def find_volumes(facts: ContainerFacts, wishes: Collection[str], forbidden: Sequence[Path] = ()) -> tuple[Volume, ...]:
    """What of the container's mounts the policy names, each once.

    No folder of the node may hold one of the `forbidden`, or lie in it. Raises VolumeUnsupported for what cannot be
    taken along.
    """
    found: dict[tuple[str, str], Volume] = {}
    for raw in facts.raw.get("Mounts") or () if wishes else ():
        mount = read_mount(raw)
        if is_covered(mount, wishes) and (mount.type, mount.source) not in found:
            path = Path(os.path.realpath(str(raw.get("Source") or "/")))
            inode = path.stat().st_ino if path.is_dir() else 0
            volume = Volume(mount.type, mount.source, mount.target, path, inode)
            _check(volume, raw, facts.raw.get("HostConfig") or {}, forbidden)
            found[mount.type, mount.source] = volume
    return tuple(found[key] for key in sorted(found))


def others_on(volume: Volume, others: Sequence[ContainerFacts], *, writers: bool) -> list[str]:
    """Names of the `others` that have the volume mounted, or a part of it; with `writers` only those that may write."""
    names = set()
    for facts in others:
        for raw in facts.raw.get("Mounts") or ():
            if raw.get("Type") not in ("volume", "bind") or (writers and not raw.get("RW", True)):
                continue
            path = Path(os.path.realpath(str(raw.get("Source") or "/nonexistent")))
            if path.is_relative_to(volume.path) or volume.path.is_relative_to(path):
                names.add(facts.name)
    return sorted(names)


class VolumeCopies:
    """Copies volumes into a version's folder: what is quiet while the container runs, the rest when it stands still."""

    def __init__(self, volumes: Sequence[Volume], folder: Path) -> None:
        """`folder` is the version's."""
        self._volumes = volumes
        self._folder = folder / FOLDER
        self._ahead: dict[str, Mapping[str, Facts]] = {}

    def copy_ahead(self, check: Callable[[], None]) -> None:
        """Copies while the container runs. `check` raises to end it. Raises OSError."""
        for volume in self._volumes:
            files = self._folder / volume.key / FILES
            files.mkdir(parents=True)
            self._ahead[volume.key] = copy_ahead(volume.path, files, INLINE_LIMIT, check)

    def capture(self, check: Callable[[], None]) -> None:
        """Copies the rest while it stands still; then they are whole. Raises VolumeUnsupported, OSError."""
        for volume in self._volumes:
            try:
                layer.capture_folder(volume.path, self._folder / volume.key, self._ahead.get(volume.key), check)
            except layer.FolderUnsupported as error:
                raise VolumeUnsupported(f"{volume} cannot be taken along: {error}") from error
        if self._volumes:
            write_index(self._folder, self._volumes)


def write_index(folder: Path, volumes: Sequence[Volume]) -> None:
    """Writes down which volumes the folder `volumes/` of a version has."""
    listed = [{"type": v.type, "source": v.source, "target": v.target, "folder": v.key} for v in volumes]
    content = json.dumps({"format": FORMAT, "version": VERSION, "volumes": listed}, indent=1)
    (folder / INDEX).write_text(content + "\n", encoding="utf-8")


def read_index(version: Path) -> dict[tuple[str, str], Path]:
    """The captured folders in a version's folder by type and source; none when it took no volume along.

    Raises MissingData, CorruptData, NewerFormat.
    """
    folder = version / FOLDER
    if not folder.exists():
        return {}
    try:
        record: Any = json.loads((folder / INDEX).read_bytes())
        if record["format"] != FORMAT:
            raise CorruptData(f"{folder / INDEX} does not begin as an index of volumes")
        if int(record["version"]) > VERSION:
            raise NewerFormat(f"the volumes have format {record['version']}; this SwarmKeep knows {VERSION}")
        found = {}
        for item in record["volumes"]:
            kind, source = str(item["type"]), str(item["source"])
            # Never by a path that somebody wrote.
            captured = folder / content_name(f"{kind}:{source}")
            if not captured.is_dir():
                raise MissingData(f"{folder} lacks the volume {source}")
            found[kind, source] = captured
        return found
    except FileNotFoundError as error:
        raise MissingData(f"{folder} has no index") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(f"{folder / INDEX} makes no sense: {error!r}") from error


def unpack_volumes(version: Path, inspection: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Makes folders below `folder` of the volumes in a version's folder, for a container with that inspection.

    Returns their paths by what the container calls them. Raises DataError, StorageFull, RestoreFailed, HostError.
    """
    captured = read_index(version)
    unpacked: dict[str, str] = {}
    for raw in inspection.get("Mounts") or () if captured else ():
        mount = read_mount(raw)
        source = captured.get((mount.type, mount.source))
        if source is not None:
            path = folder / str(len(unpacked))
            with on_this_node(f"making {path}"):
                path.mkdir(parents=True)
            layer.apply(source, path)
            unpacked[mount.target] = str(path)
    return unpacked


def _check(volume: Volume, raw: Mapping[str, Any], host: Mapping[str, Any], forbidden: Sequence[Path]) -> None:
    def unsupported(why: str) -> VolumeUnsupported:
        return VolumeUnsupported(f"{volume} cannot be taken along: {why}")

    elsewhere = "leave it out of checkpoint.volumes if every node reaches it anyway, else use a plain local volume"
    driver = raw.get("Driver") or "local"
    if volume.type == "volume" and driver != "local":
        raise unsupported(f"its data is where the driver {driver} keeps it; {elsewhere}")
    if volume.type == "volume" and (volume.path.parent / "opts.json").exists():
        raise unsupported(f"it was made with options, so that it is mounted from elsewhere or limited; {elsewhere}")
    for mount in host.get("Mounts") or ():
        if mount.get("Source") == volume.source and (mount.get("VolumeOptions") or {}).get("Subpath"):
            raise unsupported("the container mounts only a part of it (subpath); let it mount all of it")
    if not volume.inode:
        raise unsupported(f"{volume.path} is no folder")
    if os.path.ismount(volume.path):
        raise unsupported(f"{volume.path} is a file system of its own; name a folder in it instead")
    for path in forbidden if volume.type == "bind" else ():
        if path.is_relative_to(volume.path) or volume.path.is_relative_to(path):
            raise unsupported(f"SwarmKeep or Docker keep their own data there ({path})")
