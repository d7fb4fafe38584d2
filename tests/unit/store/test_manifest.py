"""Manifests whose hash is right and whose fields are not: written by a hostile or a broken program."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from blake3 import blake3

from swarmkeep.errors import CorruptData
from swarmkeep.store.manifest import decode_manifest

W = "default/redis.1"
FOLDER = {"path": ".", "type": "folder", "mode": 0o755, "uid": 0, "gid": 0, "mtime": 0, "xattrs": {}}
FILE = FOLDER | {"path": "f", "type": "file", "size": 1, "runs": [[0, 1]], "blake3": "00" * 32}
LINK = FOLDER | {"path": "l", "type": "symlink", "target": "/etc"}


def sealed(body: bytes) -> bytes:
    head = struct.pack("<8sHHI", b"SWKEEPMF", 1, 0, len(body))
    return head + blake3(head + body).digest() + body


def manifest(*entries: Any, data_bytes: Any = 0, **changes: Any) -> bytes:
    fields = {
        "workload": W,
        "version": 1,
        "takenAt": "2026-01-02T03:04:05.000006Z",
        "data": {"attempt": "0123456789abcdef", "bytes": data_bytes},
        "entries": list(entries),
        "facts": {},
    }
    fields |= changes
    return sealed(json.dumps({name: value for name, value in fields.items() if value is not ...}).encode())


def test_one_made_by_hand_is_read() -> None:
    read = decode_manifest(manifest(FOLDER, FILE, LINK, data_bytes=1), W, 1)

    assert [entry.path for entry in read.entries] == [b".", b"f", b"l"]


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
    ("changes", "data_bytes"),
    [
        ({"runs": [[0, 2]]}, 2),
        ({"runs": [[1, 1]]}, 1),
        ({"runs": [[0, 0], [0, 1]]}, 1),
        ({"runs": [[0, 1], [0, 1]], "size": 5}, 2),
        ({"runs": [[-1, 1]]}, 1),
        ({"runs": [[0]]}, 1),
        ({"runs": [[0, 1 << 70]], "size": 1 << 70}, 1 << 70),
        ({"runs": [[0, 1]]}, 2),
        ({"blake3": "00"}, 1),
        ({"blake3": "zz" * 32}, 1),
        ({"size": "1"}, 1),
    ],
)
def test_a_file_whose_bytes_cannot_be_is_damage(changes: dict[str, Any], data_bytes: int) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(manifest(FOLDER, FILE | changes, data_bytes=data_bytes), W, 1)


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
        {"entries": {}},
        {"data": None},
        {"data": {"attempt": "../../x", "bytes": 0}},
        {"data": {"attempt": 5, "bytes": 0}},
        {"data": {"attempt": "0123456789abcdef", "bytes": 0, "more": 1}},
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
def test_a_body_that_is_not_the_json_of_one_is_damage(body: bytes) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(sealed(body), W, 1)
