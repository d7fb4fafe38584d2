"""Manifests whose hash is right and whose fields are not: written by a hostile or a broken program."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import zstandard
from blake3 import blake3

from swarmkeep.errors import CorruptData
from swarmkeep.store.manifest import decode_manifest

W = "default/redis.1"
FOLDER = {"path": ".", "type": "folder", "mode": 0o755, "uid": 0, "gid": 0, "mtime": 0, "xattrs": {}}
FILE = FOLDER | {"path": "f", "type": "file", "size": 4097}
LINK = FOLDER | {"path": "l", "type": "symlink", "target": "/etc"}
PACK = {
    "name": "0123456789abcdef-000000",
    "bytes": 16 + 30 + 40 + 3 * 16,
    "frames": 1,
    "pages": 3,
    "frameTable": "00" * 32,
    "pageHashes": "00" * 32,
}


def chunks(*rows: tuple[int, int]) -> bytes:
    """Chunks of (start, pages), all with the same hash."""
    return b"".join(struct.pack("<QI32s", *row, b"") for row in rows)


def sealed(*raw: bytes) -> bytes:
    stored = [zstandard.compress(section) for section in raw]
    start = struct.pack("<8sHH", b"SWKEEPMF", 1, 0)
    for section, packed in zip(raw, stored, strict=True):
        start += struct.pack("<II32s", len(packed), len(section), blake3(packed).digest())
    return start + blake3(start).digest() + b"".join(stored)


def table(*runs: tuple[int, int, int]) -> bytes:
    """Runs of (pages, pack from 1 or 0 for zeros, zigzag of how far the first page is from where one expects it)."""
    columns = list(zip(*runs, strict=True))
    return b"".join(
        bytes((value >> 8 * byte) & 0xFF for value in column)
        for column, width in zip(columns, (8, 4, 8), strict=True)
        for byte in range(width)
    )


def manifest(*entries: Any, pages: bytes = b"", cuts: bytes = b"", **changes: Any) -> bytes:
    fields = {
        "workload": W,
        "version": 1,
        "takenAt": "2026-01-02T03:04:05.000006Z",
        "attempt": "0123456789abcdef",
        "packs": [PACK],
        "newBytes": 0,
        "facts": {},
    }
    fields |= changes
    head = {name: value for name, value in fields.items() if value is not ...}
    return sealed(json.dumps(head).encode(), json.dumps(list(entries)).encode(), pages, cuts)


def test_one_made_by_hand_is_read() -> None:
    read = decode_manifest(manifest(FOLDER, FILE, LINK, pages=table((1, 0, 0), (1, 1, 4)), cuts=chunks((1, 1))), W, 1)

    assert [entry.path for entry in read.entries] == [b".", b"f", b"l"]
    assert read.table.expand(0, 2).tolist() == [0, 1 << 32 | 2]
    assert (read.chunks.starts, read.chunks.pages) == ((1,), (1,))
    assert decode_manifest(manifest(FOLDER), W, 1).table.pages == 0


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([], id="no folder"),
        pytest.param([FILE], id="a file first"),
        pytest.param([FOLDER, FOLDER], id="the folder twice"),
        pytest.param([FOLDER, LINK, LINK], id="a name twice"),
        pytest.param([FOLDER, LINK | {"path": "../l"}], id="a way out"),
        pytest.param([FOLDER, LINK | {"path": "/l"}], id="an absolute path"),
        pytest.param([FOLDER, LINK | {"path": "a/l"}], id="no parent"),
        pytest.param([FOLDER, LINK, LINK | {"path": "l/x"}], id="a link as parent"),
        pytest.param([FOLDER, LINK | {"path": "./l"}], id="a dot segment"),
        pytest.param([FOLDER, LINK | {"path": ""}], id="an empty path"),
        pytest.param([FOLDER, LINK | {"path": "a\x00b"}], id="a NUL"),
        pytest.param([FOLDER, LINK | {"path": "x" * 256}], id="a name too long"),
        pytest.param([FOLDER, LINK | {"path": "\\q"}], id="a bad escape"),
        pytest.param([FOLDER, LINK | {"path": "\\x41"}], id="a needless escape"),
        pytest.param([FOLDER, LINK | {"target": ""}], id="an empty target"),
        pytest.param([FOLDER, {"path": "h", "type": "hardlink", "target": "nothing"}], id="a hard link to nothing"),
        pytest.param([FOLDER, {"path": "h", "type": "hardlink", "target": "."}], id="a hard link to a folder"),
        pytest.param([FOLDER, {"path": "h", "type": "hardlink", "target": "../etc/shadow"}], id="a hard link out"),
        pytest.param([FOLDER, LINK | {"type": "door"}], id="an unknown type"),
        pytest.param([FOLDER, LINK | {"size": 1}], id="a field too many"),
        pytest.param([FOLDER, {"path": "l", "type": "symlink"}], id="fields too few"),
        pytest.param([FOLDER, LINK | {"mode": 0o10000}], id="a mode too large"),
        pytest.param([FOLDER, LINK | {"uid": -1}], id="a negative owner"),
        pytest.param([FOLDER, LINK | {"uid": True}], id="true as a number"),
        pytest.param([FOLDER, LINK | {"mtime": 1.5}], id="a fraction of a nanosecond"),
        pytest.param([FOLDER, LINK | {"xattrs": {"user.a": "?"}}], id="an attribute that is not base64"),
        pytest.param([FOLDER, LINK | {"xattrs": []}], id="attributes in a list"),
        pytest.param([FOLDER, "l"], id="text as an entry"),
        pytest.param([FOLDER, None], id="null as an entry"),
    ],
)
def test_entries_that_make_no_folder_are_damage(entries: list[Any]) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(manifest(*entries), W, 1)


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param(b"", id="no table"),
        pytest.param(table((2, 1, 0))[:-1], id="a table cut short"),
        pytest.param(table((1, 1, 0)), id="too few pages"),
        pytest.param(table((3, 1, 0)), id="too many pages"),
        pytest.param(table((0, 0, 0), (2, 1, 0)), id="an empty run"),
        pytest.param(table((1 << 63, 0, 0), (2, 1, 0)), id="a run without end"),
        pytest.param(table((1 << 39, 0, 0), (2, 1, 0)), id="a run too long"),
        pytest.param(table((2, 2, 0)), id="no such pack"),
        pytest.param(table((2, 1 << 31, 0)), id="no such pack by far"),
        pytest.param(table((2, 1, 4)), id="no such page"),
        pytest.param(table((2, 1, 1)), id="a page before the first"),
        pytest.param(table((2, 1, (1 << 64) - 1)), id="a page far before the first"),
        pytest.param(table((2, 0, 2)), id="zeros that lie somewhere"),
    ],
)
def test_pages_that_cannot_be_are_damage(pages: bytes) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(manifest(FOLDER, FILE, pages=pages), W, 1)


@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param(chunks((0, 1))[:-1], id="cut short"),
        pytest.param(chunks((0, 0)), id="empty"),
        pytest.param(chunks((0, 257)), id="too long"),
        pytest.param(chunks((0, 3)), id="beyond the end"),
        pytest.param(chunks((2, 1)), id="after the end"),
        pytest.param(chunks(((1 << 64) - 1, 1)), id="far after the end"),
        pytest.param(chunks((0, 2), (1, 1)), id="two of one page"),
        pytest.param(chunks((1, 1), (0, 1)), id="the wrong way round"),
    ],
)
def test_chunks_that_cannot_be_are_damage(cuts: bytes) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(manifest(FOLDER, FILE, pages=table((2, 1, 0)), cuts=cuts), W, 1)


@pytest.mark.parametrize("size", [-1, 1.5, "1", True, None, 1 << 63, 1 << 62])
def test_a_size_that_cannot_be_is_damage(size: Any) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(manifest(FOLDER, FILE | {"size": size}, pages=table((2, 1, 0))), W, 1)


@pytest.mark.parametrize(
    "packs",
    [
        [PACK, PACK],
        [PACK | {"name": "../../etc/passwd-000000"}],
        [PACK | {"name": 5}],
        [PACK | {"bytes": 50}],
        [PACK | {"bytes": -1}],
        [PACK | {"frames": 0}],
        [PACK | {"frames": 4}],
        [PACK | {"frames": 1 << 20, "pages": 1 << 20, "bytes": 1 << 40}],
        [PACK | {"pages": 257, "bytes": 1 << 20}],
        [PACK | {"pages": True}],
        [PACK | {"frameTable": "00"}],
        [PACK | {"pageHashes": "zz" * 32}],
        [PACK | {"surplus": 1}],
        [None],
        {},
    ],
)
def test_packs_that_cannot_be_are_damage(packs: Any) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(manifest(FOLDER, packs=packs), W, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": 1},
        {"version": "1"},
        {"version": True},
        {"takenAt": "yesterday"},
        {"takenAt": "2026-01-02T03:04:05"},
        {"takenAt": 5},
        {"facts": []},
        {"facts": ...},
        {"attempt": "../../x"},
        {"attempt": 5},
        {"newBytes": 0.5},
        {"surplus": 1},
    ],
)
def test_fields_that_make_no_sense_are_damage(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(manifest(FOLDER, **changes), W, 1)


def test_numbers_that_json_does_not_have_are_damage() -> None:
    with pytest.raises(CorruptData, match="NaN"):
        decode_manifest(manifest(FOLDER, facts={"a": float("nan")}), W, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"version":' + b"9" * 5000 + b"}",
        b'{"facts":{"a":1,"a":2}}',
    ],
)
def test_a_head_that_is_not_the_json_of_one_is_damage(body: bytes) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(sealed(body, json.dumps([FOLDER]).encode(), b"", b""), W, 1)


def test_a_section_that_says_it_is_larger_than_it_is_takes_no_memory() -> None:
    bomb = zstandard.compress(bytes(1 << 20))
    start = struct.pack("<8sHH", b"SWKEEPMF", 1, 0)
    for length in (100, 1 << 31, 1 << 20):
        sections = struct.pack("<II32s", len(bomb), length, blake3(bomb).digest()) * 4
        content = start + sections + blake3(start + sections).digest() + bomb * 4

        with pytest.raises(CorruptData):
            decode_manifest(content, W, 1)
