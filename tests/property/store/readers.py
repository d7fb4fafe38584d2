"""Everything in the store that reads bytes which somebody else may have written, ready to be fed with any bytes.

Each reader takes bytes and returns when it has read them or said in its own way that it cannot; anything else that it
raises is a bug. Hashes, lengths and seals over what is fed are made right first where they would keep all of it out: a
hostile writer can do that too. `hack/fuzz` feeds them by atheris, test_mutated_bytes.py by hypothesis.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import zstandard
from blake3 import blake3

from swarmkeep.errors import DataError, KeyFileUnusable, WrongKey
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.chunks import decode_chunks
from swarmkeep.store.key_file import parse_key
from swarmkeep.store.keyring import Keyring, LocationKey
from swarmkeep.store.keys import VersionKey, parse_envelope_key, parse_manifest_key, parse_pack_key, parse_writer_key
from swarmkeep.store.location import join_keys, read_mark
from swarmkeep.store.manifest import Manifest, decode_manifest, encode_manifest
from swarmkeep.store.names import text_to_name
from swarmkeep.store.pack import (
    HEADER_BYTES,
    PackInfo,
    check_header,
    check_packs,
    open_frame,
    read_frame_table,
    read_page_hashes,
)
from swarmkeep.store.page_table import decode_table
from swarmkeep.store.repository import Repository
from swarmkeep.store.sealed_manifest import open_manifest, seal_manifest, sealed_attempt
from swarmkeep.store.sealing import Part, Sealer
from swarmkeep.store.writers import list_writers

W = "default/redis.1"
KEY = VersionKey(W, 1)
RING = Keyring(LocationKey(bytes(range(32)), "/etc/main.key"))
DATA_KEY = bytes(range(32, 64))
ATTEMPT = "0123456789abcdef"
NAME = f"{W}/{ATTEMPT}"


@dataclass(frozen=True, slots=True)
class Example:
    """A version as it lies in storage."""

    blobs: Mapping[str, bytes]
    manifest: Manifest
    keyring: Keyring | None


def make_example(keyring: Keyring | None) -> Example:
    """A version of some pages, zeros, a link, and of a pack that is not its own."""
    blobs = MemoryBlobStore()
    repository = Repository.open(blobs, create=True, keyring=keyring)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        for number in (2, 1):
            pages = [bytes([page % 5 + 1]) * 4096 for page in range(7 * number)]
            (source / "pages").write_bytes(b"".join([*pages, bytes(8192), b"end"]))
            (source / "note").write_bytes(b"%d" % number)
            # As version 2 and then 1, so that the one to read leans on the other one's pack.
            repository.put(W, number, source, {"n": number}, parent=2, taken_at=datetime(2026, 1, 1, tzinfo=UTC))
            (source / "pages").unlink()
            (source / f"link{number}").symlink_to("note")
    content = {info.key: blobs.get(info.key, 1 << 30) for info in blobs.list("")}
    return Example(content, repository.manifest(W, 1), keyring)


PLAIN, ENCRYPTED = make_example(None), make_example(RING)


def sections_of(manifest: bytes) -> list[bytes]:
    """The contents of the four sections of an encoded manifest."""
    lengths = [struct.unpack_from("<I", manifest, 12 + number * 40)[0] for number in range(4)]
    found, position = [], 204
    for length in lengths:
        found.append(zstandard.decompress(manifest[position : position + length]))
        position += length
    return found


def joined(sections: list[bytes]) -> bytes:
    """Sections as one run of bytes: what `manifest_of` takes."""
    return b"".join(struct.pack("<H", len(section)) + section for section in sections)


def manifest_of(content: bytes) -> bytes:
    """A manifest that has all hashes right, its sections cut out of `content`."""
    start, stored = struct.pack("<8sHH", b"SWKEEPMF", 1, 0), []
    for _ in range(4):
        length = int.from_bytes(content[:2], "little")
        section, content = content[2 : 2 + length], content[2 + length :]
        stored.append(zstandard.compress(section))
        start += struct.pack("<II32s", len(stored[-1]), len(section), blake3(stored[-1]).digest())
    return b"".join([start, blake3(start).digest(), *stored])


def _manifest(content: bytes) -> None:
    decode_manifest(content, W, 1)


def _sections(content: bytes) -> None:
    decode_manifest(manifest_of(content), W, 1)


def _sealed_manifest(content: bytes) -> None:
    sealed_attempt(content, KEY)
    decode_manifest(open_manifest(content, KEY, DATA_KEY), W, 1, sealed=True)


def _sealed_sections(content: bytes) -> None:
    _sealed_manifest(seal_manifest(manifest_of(content), KEY, ATTEMPT, DATA_KEY))


def _envelope(content: bytes) -> None:
    RING.unwrap(content, NAME, RING.current.id)


def _page_table(content: bytes) -> None:
    pages = PLAIN.manifest.table.pages
    table = decode_table(content, pages, [pack.pages for pack in PLAIN.manifest.packs])
    assert len(table.expand(0, pages)) == pages


def _chunks(content: bytes) -> None:
    chunks = decode_chunks(content, 12)
    assert all(1 <= chunks.next_cut(position) <= 256 for position in range(12))


def _read_pack(info: PackInfo, content: bytes) -> None:
    """Everything of a pack whose tables have the hashes that the manifest says."""
    check_packs([info])
    parts = [content[start : start + length] for start, length in (info.frame_table_range, info.page_hashes_range)]
    info = replace(
        info, frame_table_hash=blake3(parts[0]).digest(), page_hashes_hash=blake3(parts[1]).digest(), size=len(content)
    )
    check_header(info, content[:HEADER_BYTES])
    assert len(read_page_hashes(info, parts[1])) == info.pages
    table = read_frame_table(info, parts[0])
    for frame in range(info.frames):
        stored = content[int(table.offsets[frame]) : int(table.offsets[frame + 1])]
        right = replace(table, hashes=tuple(blake3(stored).digest() for _ in table.hashes))
        pages = int(table.begins[frame + 1] - table.begins[frame])
        assert len(open_frame(info, right, frame, stored)) == pages * 4096


def _pack(example: Example) -> Callable[[bytes], None]:
    info = example.manifest.packs[-1]

    def read(content: bytes) -> None:
        _read_pack(replace(info, size=len(content)), content)

    return read


def _sealed_pack(content: bytes) -> None:
    """A pack that is made of one frame, a frame table and page hashes, each sealed by who has its data key."""
    frame_end, table_end = max(len(content) - 56, 0), max(len(content) - 16, 0)
    name = f"{ATTEMPT}-000000"
    header = struct.pack("<8sHHI", b"SWKEEPPK", 2, 0, 0)
    sealer = Sealer(DATA_KEY, header, name)
    frame = sealer.seal(Part.FRAME, content[:frame_end])
    table = sealer.seal(Part.FRAME_TABLE, content[frame_end:table_end])
    hashes = sealer.seal(Part.PAGE_HASHES, content[table_end:])
    whole = header + frame + table + hashes
    _read_pack(PackInfo(name, len(whole), 1, (len(hashes) - 16) // 16, b"x" * 32, b"x" * 32, DATA_KEY), whole)


def _mark(content: bytes) -> None:
    blobs = MemoryBlobStore()
    blobs.put("swarmkeep-location", [content])
    read_mark(blobs)


def _key_list(content: bytes) -> None:
    blobs = MemoryBlobStore()
    blobs.put("location-keys/000001", [content])
    join_keys(blobs, Keyring(LocationKey(b"y" * 31 + b"x"), [RING.current]))


def _writer(content: bytes) -> None:
    blobs = MemoryBlobStore()
    blobs.put(f"writers/{W}/{ATTEMPT}", [content])
    (writer,) = list_writers(blobs, W, since=0.0)
    assert type(writer.version) is int


def _key_file(content: bytes) -> None:
    parse_key(content, Path("/etc/main.key"))


def _names(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    for parse in (parse_manifest_key, parse_pack_key, parse_writer_key, parse_envelope_key):
        parse(text)
    text_to_name(text)


FRAME = zstandard.compress(bytes(4096))
READERS = {
    "manifest": (_manifest, [encode_manifest(PLAIN.manifest)]),
    "sections": (_sections, [joined(sections_of(encode_manifest(PLAIN.manifest)))]),
    "sealed-manifest": (
        _sealed_manifest,
        [seal_manifest(encode_manifest(ENCRYPTED.manifest), KEY, ATTEMPT, DATA_KEY)],
    ),
    "sealed-sections": (_sealed_sections, [joined(sections_of(encode_manifest(ENCRYPTED.manifest)))]),
    "envelope": (_envelope, [RING.wrap(DATA_KEY, NAME)]),
    "page-table": (_page_table, [sections_of(encode_manifest(PLAIN.manifest))[2]]),
    "chunks": (_chunks, [sections_of(encode_manifest(PLAIN.manifest))[3]]),
    "pack": (_pack(PLAIN), [PLAIN.blobs[f"packs/{W}/{PLAIN.manifest.packs[-1].name}"]]),
    "encrypted-pack": (_pack(ENCRYPTED), [ENCRYPTED.blobs[f"packs/{W}/{ENCRYPTED.manifest.packs[-1].name}"]]),
    "sealed-pack": (_sealed_pack, [FRAME + struct.pack("<II32s", len(FRAME) + 16, 1, b"") + bytes(16)]),
    "mark": (_mark, [PLAIN.blobs["swarmkeep-location"], ENCRYPTED.blobs["swarmkeep-location"]]),
    "key-list": (_key_list, [ENCRYPTED.blobs["location-keys/000001"]]),
    "writer": (_writer, [b'{"base": null, "version": 1}', b'{"base": 7, "version": 8}']),
    "key-file": (_key_file, [b"# of main\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"]),
    "names": (
        _names,
        [KEY.manifest.encode(), *(key.encode() for key in ENCRYPTED.blobs), b"\\xff caf\\xe9 \\x5c"],
    ),
}
"""Each reader with bytes that it can read."""

SAID = (DataError, KeyFileUnusable, WrongKey)
"""How readers say that they cannot."""


def feed(name: str, content: bytes) -> bool:
    """Feeds a reader; returns whether it could read it. Raises whatever a reader must not raise."""
    try:
        READERS[name][0](content)
    except SAID:
        return False
    return True
