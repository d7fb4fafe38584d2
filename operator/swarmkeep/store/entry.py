"""One file, folder, link or device of a version, as a manifest lists it. Pure."""

from __future__ import annotations

import base64
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from swarmkeep.errors import CorruptData
from swarmkeep.store.names import name_to_text, text_to_name

ROOT = b"."
"""The path of the folder itself."""

_MAX_PATH_BYTES = 4095
_MAX_SIZE = (1 << 63) - 1
_MAX_ID = (1 << 32) - 1


class EntryType(StrEnum):
    """What an entry is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    HARD_LINK = "hardlink"
    """Another name for an entry before it, whatever that is."""
    CHARACTER_DEVICE = "char"
    """A whiteout of overlayfs is one with numbers 0, 0."""
    BLOCK_DEVICE = "block"
    FIFO = "fifo"
    SOCKET = "socket"


FILE_TYPE_BITS: Mapping[EntryType, int] = {
    EntryType.FILE: stat.S_IFREG,
    EntryType.FOLDER: stat.S_IFDIR,
    EntryType.SYMLINK: stat.S_IFLNK,
    EntryType.CHARACTER_DEVICE: stat.S_IFCHR,
    EntryType.BLOCK_DEVICE: stat.S_IFBLK,
    EntryType.FIFO: stat.S_IFIFO,
    EntryType.SOCKET: stat.S_IFSOCK,
}
"""What `st_mode` says of each type but hard links, which have none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. Fields that its type does not have keep their defaults."""

    path: bytes
    """Relative to the folder; segments joined by `/`, or ROOT."""
    type: EntryType
    mode: int = 0
    """Permission bits, set-user-id and the like included; no type bits."""
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    """Extended attributes by name, sorted."""
    size: int = 0
    """Of a file: its length in bytes, holes included."""
    target: bytes = b""
    """Of a symlink: its text. Of a hard link: the path of the entry that it is another name for."""
    device: tuple[int, int] = (0, 0)
    """Of a device: major and minor number."""


_COMMON_FIELDS = frozenset({"path", "type", "mode", "uid", "gid", "mtime", "xattrs"})
_OWN_FIELDS: Mapping[EntryType, frozenset[str]] = {
    EntryType.FILE: frozenset({"size"}),
    EntryType.SYMLINK: frozenset({"target"}),
    EntryType.CHARACTER_DEVICE: frozenset({"device"}),
    EntryType.BLOCK_DEVICE: frozenset({"device"}),
}


def _fields(kind: EntryType) -> frozenset[str]:
    if kind is EntryType.HARD_LINK:
        return frozenset({"path", "type", "target"})
    return _COMMON_FIELDS | _OWN_FIELDS.get(kind, frozenset())


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """The entry as a JSON object: the fields of its type, all of them."""
    every: dict[str, Any] = {
        "path": name_to_text(entry.path),
        "type": str(entry.type),
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime": entry.mtime_ns,
        "xattrs": {name_to_text(name): base64.b64encode(value).decode() for name, value in entry.xattrs},
        "size": entry.size,
        "target": name_to_text(entry.target),
        "device": list(entry.device),
    }
    fields = _fields(entry.type)
    return {name: value for name, value in every.items() if name in fields}


def entry_from_json(raw: Any) -> Entry:
    """Reads an entry. Raises CorruptData, ValueError, TypeError or KeyError when it is none."""
    kind = EntryType(raw["type"])
    if raw.keys() != _fields(kind):
        raise ValueError(f"an entry of type {kind} has fields {sorted(raw)}")
    path = text_to_name(raw["path"])
    if kind is EntryType.HARD_LINK:
        return Entry(path, kind, target=text_to_name(raw["target"]))
    xattrs = {text_to_name(name): base64.b64decode(value, validate=True) for name, value in raw["xattrs"].items()}
    return Entry(
        path=path,
        type=kind,
        mode=_whole(raw["mode"], 0o7777),
        uid=_whole(raw["uid"], _MAX_ID),
        gid=_whole(raw["gid"], _MAX_ID),
        mtime_ns=_whole(raw["mtime"], _MAX_SIZE, -_MAX_SIZE),
        xattrs=tuple(sorted(xattrs.items())),
        size=_whole(raw.get("size", 0), _MAX_SIZE),
        target=text_to_name(raw.get("target", "")),
        device=_device(raw.get("device", (0, 0))),
    )


def check_tree(entries: Sequence[Entry]) -> None:
    """Raises CorruptData unless `entries` make a folder.

    So whoever creates them one by one in a new folder never leaves it: every parent is a folder that was created
    before, and no name appears twice.
    """
    if not entries or entries[0].path != ROOT or entries[0].type is not EntryType.FOLDER:
        raise CorruptData("a manifest begins with its folder, and this one does not")
    seen: dict[bytes, EntryType] = {}
    for entry in entries:
        name = name_to_text(entry.path)
        if seen:
            _check_path(entry.path, name)
            parent = entry.path.rpartition(b"/")[0] or ROOT
            if seen.get(parent) is not EntryType.FOLDER:
                raise CorruptData(f"{name} lies in something that is no folder")
        if entry.path in seen:
            raise CorruptData(f"{name} appears twice")
        if entry.type is EntryType.HARD_LINK and seen.get(entry.target) in (
            None,
            EntryType.FOLDER,
            EntryType.HARD_LINK,
        ):
            raise CorruptData(f"{name} is a hard link to nothing that one can link to")
        if entry.type is EntryType.SYMLINK and (not entry.target or b"\0" in entry.target):
            raise CorruptData(f"{name} is a symbolic link without a target")
        seen[entry.path] = entry.type


def _check_path(path: bytes, name: str) -> None:
    if len(path) > _MAX_PATH_BYTES or b"\0" in path:
        raise CorruptData(f"{name[:200]!r} is no path")
    if any(segment in (b"", b".", b"..") or len(segment) > 255 for segment in path.split(b"/")):
        raise CorruptData(f"{name[:200]!r} is no path inside a folder")


def _whole(value: Any, most: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is no number between {least} and {most}")
    return value


def _device(raw: Any) -> tuple[int, int]:
    major, minor = raw
    return _whole(major, _MAX_ID), _whole(minor, _MAX_ID)
