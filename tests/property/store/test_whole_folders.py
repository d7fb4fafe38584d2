"""Whatever lies in a folder comes back, whatever its files are called."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.errors import DataError
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.manifest import decode_manifest, encode_manifest
from swarmkeep.store.names import name_to_text, text_to_name
from swarmkeep.store.repository import Repository

W = "default/redis.1"

contents = st.lists(st.tuples(st.sampled_from([b"\0", b"a", b"\xff"]), st.integers(1, 9000)), max_size=8).map(
    lambda parts: b"".join(letter * count for letter, count in parts)
)
names = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
folders = st.dictionaries(names, contents, max_size=6)


def fill(folder: Path, files: dict[bytes, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        with open(bytes(folder) + b"/" + name, "wb") as file:
            file.write(content)


def read(folder: Path) -> dict[bytes, bytes]:
    return {bytes(path)[len(bytes(folder)) + 1 :]: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=60, deadline=None)
@given(folders)
def test_any_folder_comes_back(files: dict[bytes, bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch, "source"), files)
        repository = Repository.open(MemoryBlobStore(), create=True)

        manifest = repository.put(W, 1, Path(scratch, "source"), {})
        repository.get(W, 1, Path(scratch, "back"))

        assert read(Path(scratch, "back")) == files
        assert decode_manifest(encode_manifest(manifest), W, 1) == manifest


@given(st.binary(max_size=200))
def test_bytes_that_are_no_manifest_are_damage(content: bytes) -> None:
    with pytest.raises(DataError):
        decode_manifest(content, W, 1)


@given(st.binary(max_size=30))
def test_a_name_survives_as_text(name: bytes) -> None:
    text = name_to_text(name)

    assert text_to_name(text) == name
    text.encode()


@given(st.text(max_size=20))
def test_text_is_either_a_name_or_damage(text: str) -> None:
    try:
        name = text_to_name(text)
    except DataError:
        return
    assert name_to_text(name) == text
