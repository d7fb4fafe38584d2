"""However versions come and go, what is left in storage is at most eight times what is in use."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.chunks import Chunk, Chunks
from swarmkeep.store.prune import MIN_LIVE_SHARE, plan_renewal
from swarmkeep.store.repository import Repository

W = "default/redis.1"
MAX_PAGES = 60


def page(number: int) -> bytes:
    """A page of its own for each number; 0 is a page of zeros."""
    return number.to_bytes(4, "little") * 1024


class History:
    """Two files that change, their versions, and what each version has to give back."""

    def __init__(self, scratch: Path) -> None:
        self.blobs = MemoryBlobStore()
        self.repository = Repository.open(self.blobs, create=True)
        self.source, self.back = scratch / "source", scratch / "back"
        self.source.mkdir()
        self.files: tuple[list[int], list[int]] = ([], [])
        self.kept: dict[int, tuple[bytes, bytes]] = {}
        self._fresh = 1
        self._version = 1

    def fresh(self, count: int) -> list[int]:
        """Pages that never were before."""
        self._fresh += count
        return list(range(self._fresh - count, self._fresh))

    def put(self) -> None:
        contents = b"".join(map(page, self.files[0])), b"".join(map(page, self.files[1]))
        for name, content in zip(("a", "b"), contents, strict=True):
            (self.source / name).write_bytes(content)
        self.repository.put(W, self._version, self.source, {})
        self.kept[self._version] = contents
        self._version += 1

    def delete(self, version: int) -> None:
        self.repository.delete(W, version)
        del self.kept[version]

    def check(self) -> None:
        """Nothing but what a version needs is there, every pack is worth it, and every version comes back."""
        sizes: dict[str, int] = {}
        in_use: dict[str, set[int]] = {}
        for version, contents in self.kept.items():
            manifest = self.repository.manifest(W, version)
            refs = manifest.table.expand(0, manifest.table.pages).tolist() if manifest.table.pages else []
            for number, pack in enumerate(manifest.packs, 1):
                mine = {ref & 0xFFFFFFFF for ref in refs if ref >> 32 == number}
                assert len(mine) >= pack.pages * MIN_LIVE_SHARE
                sizes[pack.name] = pack.pages
                in_use.setdefault(pack.name, set()).update(mine)
            self.repository.get(W, version, self.back)
            assert ((self.back / "a").read_bytes(), (self.back / "b").read_bytes()) == contents
        assert {info.key.rpartition("/")[2] for info in self.blobs.list("packs/")} == set(sizes)
        assert sum(sizes.values()) * MIN_LIVE_SHARE <= sum(map(len, in_use.values()))


steps = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 1), st.integers(0, MAX_PAGES), st.integers(1, 40)),
    st.tuples(st.just("grow"), st.integers(0, 1), st.integers(0, MAX_PAGES), st.integers(1, 40)),
    st.tuples(st.just("cut"), st.integers(0, 1), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("repeat"), st.integers(0, 1), st.integers(0, MAX_PAGES), st.integers(1, 40)),
    st.tuples(st.just("zeros"), st.integers(0, 1), st.integers(0, MAX_PAGES), st.integers(1, 40)),
    st.tuples(st.just("swap"), st.integers(0, 1), st.just(0), st.just(0)),
    st.tuples(st.just("put"), st.integers(0, 1), st.just(0), st.just(0)),
    st.tuples(st.just("put"), st.integers(0, 1), st.just(0), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 1), st.integers(0, 9), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=30))
def test_for_every_sequence_of_puts_and_deletes(story: list[tuple[str, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        history = History(Path(scratch))
        for step, which, place, count in [("grow", 0, 0, 40), ("put", 0, 0, 0), *story, ("put", 0, 0, 0)]:
            pages = history.files[which]
            at = min(place, len(pages))
            if step == "change":
                pages[at : at + count] = history.fresh(len(pages[at : at + count]))
            elif step == "grow":
                pages[at:at] = history.fresh(min(count, MAX_PAGES - len(pages)))
            elif step == "cut":
                del pages[at:]
            elif step == "repeat" and pages:
                pages[at : at + count] = [pages[at % len(pages)]] * len(pages[at : at + count])
            elif step == "zeros":
                pages[at : at + count] = [0] * len(pages[at : at + count])
            elif step == "swap":
                history.files = history.files[::-1]
            elif step == "put":
                history.put()
            elif step == "delete" and history.kept:
                history.delete(sorted(history.kept)[place % len(history.kept)])
        history.check()
        for version in sorted(history.kept)[:-1]:
            history.delete(version)
        history.check()


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3000)), max_size=50))
def test_only_packs_that_are_used_too_little_are_left(sizes: list[tuple[int, int]]) -> None:
    live = [used for used, _ in sizes]
    every = [used + dead for used, dead in sizes]

    left = plan_renewal(live, every)

    for used, size, is_left in zip(live, every, left, strict=True):
        assert is_left == (used > 0 and used < size / 8)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=20),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 30)), max_size=8),
)
def test_the_chunks_that_touch_parts_of_the_stream_are_found(
    layout: list[tuple[int, int]], parts: list[tuple[int, int]]
) -> None:
    chunks: list[Chunk] = []
    end = 0
    for gap, pages in layout:
        chunks.append(Chunk(end + gap, pages, bytes([len(chunks)])))
        end += gap + pages
    columns = Chunks(*(tuple(getattr(chunk, name) for chunk in chunks) for name in ("start", "pages", "hash")))
    starts = np.array([start for start, _ in parts], np.int64)
    ends = starts + np.array([count for _, count in parts], np.int64)

    found = columns.touching(starts, ends)

    expected = [
        chunk
        for chunk in chunks
        if any(low < chunk.start + chunk.pages and chunk.start < high for low, high in zip(starts, ends, strict=True))
    ]
    assert found == expected
