"""A folder made out of another version's is what it would be anew, whatever the two have in common."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.store import folder_update
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.folder_update import Base
from swarmkeep.store.page_table import PAGE_BYTES
from swarmkeep.store.repository import Repository

W = "default/redis.1"

pages = st.lists(st.sampled_from([b"\0", b"a", b"b", b"c"]), max_size=12)
ends = st.sampled_from([b"", b"tail", b"a" * 100])
contents = st.tuples(pages, ends).map(lambda it: b"".join(page * PAGE_BYTES for page in it[0]) + it[1])
folders = st.dictionaries(st.sampled_from(["one", "two", "three"]), contents, max_size=3)


def fill(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=200, deadline=None)
@given(st.lists(folders, min_size=2, max_size=4), st.data())
def test_any_version_can_be_made_out_of_any_other(versions: list[dict[str, bytes]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch, mock.patch.object(folder_update, "MIN_BYTES", 1):
        repository = Repository.open(MemoryBlobStore(), create=True)
        for number, files in enumerate(versions, 1):
            fill(Path(scratch, f"source{number}"), files)
            repository.put(W, number, Path(scratch, f"source{number}"), {})
        numbers = st.integers(1, len(versions))
        old, new = data.draw(numbers, "old"), data.draw(numbers, "new")
        base = Path(scratch, "base")
        manifest = repository.get(W, old, base)
        repository.get(W, new, Path(scratch, "made"), base=Base(base, manifest))
        assert read(Path(scratch, "made")) == versions[new - 1]
