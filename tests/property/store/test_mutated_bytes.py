"""Whatever becomes of stored bytes: a reader reads them or says what is wrong, and never gives back wrong ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.errors import SwarmKeepError
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.repository import Repository

from .readers import ENCRYPTED, PLAIN, READERS, Example, W, feed


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` after some damage: bits flipped, parts cut out, put in, overwritten, said twice, or the end gone."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["flip", "cut", "insert", "overwrite", "repeat", "truncate", "number"])):
            case "flip" if at < len(changed):
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del changed[at : at + length]
            case "insert":
                changed[at:at] = draw(st.binary(max_size=40))
            case "overwrite":
                changed[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "repeat":
                changed[at:at] = changed[at : at + length]
            case "truncate":
                del changed[at:]
            case "number":
                width = draw(st.sampled_from([1, 2, 4, 8]))
                value = draw(st.sampled_from([0, 1, 2**7, 2**31, 2**32 - 1, 2**63, 2**64 - 1])) % 2 ** (8 * width)
                changed[at : at + width] = value.to_bytes(width, "little")
    return bytes(changed)


@pytest.mark.parametrize("name", READERS)
def test_readers_read_what_was_written(name: str) -> None:
    for content in READERS[name][1]:
        assert feed(name, content)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_readers_read_anything_or_say_what_is_wrong(name: str, data: st.DataObject) -> None:
    seeds = READERS[name][1]
    feed(name, data.draw(st.sampled_from(seeds).flatmap(mutations) | st.binary(max_size=300)))


@pytest.mark.parametrize("example", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_no_version_is_ever_restored_with_wrong_bytes(example: Example, data: st.DataObject) -> None:
    """One blob is damaged, gone, or another one lies in its place."""
    key = data.draw(st.sampled_from(sorted(example.blobs)))
    damaged = data.draw(mutations(example.blobs[key]) | st.sampled_from(sorted(example.blobs.values())) | st.none())
    blobs = MemoryBlobStore()
    for each, content in example.blobs.items():
        if each != key:
            blobs.put(each, [content])
    if damaged is not None:
        blobs.put(key, [damaged])
    with tempfile.TemporaryDirectory() as scratch:
        back = Path(scratch, "back")
        try:
            repository = Repository.open(blobs, create=False, keyring=example.keyring)
            manifest = repository.get(W, 1, back)
        except SwarmKeepError:
            assert not back.exists()
            return
        assert manifest == example.manifest
        pages = [bytes([page % 5 + 1]) * 4096 for page in range(7)]
        assert (back / "pages").read_bytes() == b"".join([*pages, bytes(8192), b"end"])
        assert (back / "note").read_bytes() == b"1"
        assert sorted(path.name for path in back.iterdir()) == ["link2", "note", "pages"]
