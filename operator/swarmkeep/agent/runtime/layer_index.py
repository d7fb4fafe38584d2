"""How a captured writable layer is written down: one JSON object for each file, parents before children. Pure.

A layer is a folder with `index.jsonl` and, for content that is not in the index itself, `files/`. Everything that a
storage may not know - owners, modes, extended attributes, deletions, devices, hard links - is in the index.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from swarmkeep.errors import CorruptData, NewerFormat

INDEX = "index.jsonl"
FILES = "files"
FORMAT = "swarmkeep-layer"
VERSION = 1


class EntryType(StrEnum):
    """What a path is."""

    FOLDER = "folder"
    FILE = "file"
    SYMLINK = "symlink"
    LINK = "link"
    """Another name of a file that came before."""
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER = "character"
    BLOCK = "block"
    DELETED = "deleted"
    """The image has it, the container deleted it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a layer."""

    path: str
    """Relative; empty for the root. Bytes that are no UTF-8 are surrogates, as os.fsdecode makes them."""
    type: EntryType
    mode: int = 0
    """Permission bits."""
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    replaces: bool = False
    """A folder that hides what the image has below it."""
    target: str = ""
    """Of a symlink; of a link, the path that came before."""
    device: tuple[int, int] = (0, 0)
    size: int = 0
    content: bytes | None = None
    """Of a small file; None when it is in `files/`."""


def content_name(path: str) -> str:
    """Name of a file's content: the same in every version, so that a storage finds what has not changed."""
    return hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def encode_head() -> str:
    """The first line of an index."""
    return json.dumps({"format": FORMAT, "version": VERSION})


def encode(entry: Entry) -> str:
    """One line of an index."""
    record: dict[str, Any] = {"path": entry.path, "type": str(entry.type)}
    if entry.type is not EntryType.DELETED:
        record |= {"mode": entry.mode, "uid": entry.uid, "gid": entry.gid, "mtime": entry.mtime_ns}
    if entry.xattrs:
        record["xattrs"] = {name: base64.b64encode(value).decode() for name, value in entry.xattrs.items()}
    if entry.replaces:
        record["replaces"] = True
    if entry.target:
        record["target"] = entry.target
    if entry.type in (EntryType.CHARACTER, EntryType.BLOCK):
        record["device"] = list(entry.device)
    if entry.type is EntryType.FILE:
        record["size"] = entry.size
        if entry.content is not None:
            record["content"] = base64.b64encode(entry.content).decode()
    return json.dumps(record, separators=(",", ":"))


def decode(lines: Iterable[str]) -> Iterator[Entry]:
    """The entries of an index. Raises NewerFormat, and CorruptData for anything that `encode` would not write."""
    iterator = iter(lines)
    head = _record(next(iterator, ""))
    if head.get("format") != FORMAT:
        raise CorruptData("the index of the writable layer does not begin as one")
    if not isinstance(head.get("version"), int) or head["version"] > VERSION:
        raise NewerFormat(f"the writable layer has format {head.get('version')}; this SwarmKeep knows {VERSION}")
    for line in iterator:
        yield _entry(_record(line))


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CorruptData("the index of the writable layer has a line that is no JSON") from error
    if not isinstance(record, dict):
        raise CorruptData("the index of the writable layer has a line that is no JSON object")
    return record


def _entry(record: dict[str, Any]) -> Entry:
    try:
        content = record.get("content")
        major, minor = record.get("device", (0, 0))
        entry = Entry(
            path=_path(record["path"]),
            type=EntryType(record["type"]),
            mode=int(record.get("mode", 0)) & 0o7777,
            uid=int(record.get("uid", 0)),
            gid=int(record.get("gid", 0)),
            mtime_ns=int(record.get("mtime", 0)),
            xattrs={str(name): base64.b64decode(value) for name, value in record.get("xattrs", {}).items()},
            replaces=bool(record.get("replaces", False)),
            target=str(record.get("target", "")),
            device=(int(major), int(minor)),
            size=int(record.get("size", 0)),
            content=None if content is None else base64.b64decode(content),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptData(f"the index of the writable layer has an entry that makes no sense: {error!r}") from error
    if entry.type is EntryType.LINK:
        _path(entry.target)
    if entry.content is not None and len(entry.content) != entry.size:
        raise CorruptData(f"the content of {entry.path} in the writable layer has another length than it says")
    return entry


def _path(value: Any) -> str:
    """A relative path that stays below its root, whatever it is put together from. Raises CorruptData."""
    if not isinstance(value, str) or "\0" in value:
        raise CorruptData("the index of the writable layer has a path that is none")
    if value and any(part in ("", ".", "..") for part in value.split("/")):
        raise CorruptData(f"the index of the writable layer has the path {value!r}, which leads out of it")
    return value
