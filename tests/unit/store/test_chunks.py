from __future__ import annotations

import os
from pathlib import Path

from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.chunks import Chunks
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

W = "default/redis.1"


def make(*rows: tuple[int, int]) -> Chunks:
    return Chunks(tuple(start for start, _ in rows), tuple(pages for _, pages in rows), tuple(b"" for _ in rows))


def test_a_cut_goes_to_the_end_of_the_chunk_that_one_is_in() -> None:
    chunks = make((0, 256), (256, 200), (500, 256))

    assert [chunks.next_cut(position) for position in (0, 256, 1, 100, 500)] == [256, 200, 255, 156, 256]


def test_between_chunks_a_cut_goes_to_the_next_one_and_never_too_far() -> None:
    chunks = make((0, 256), (500, 256), (5000, 1))

    assert [chunks.next_cut(position) for position in (256, 300, 756, 4999, 5001, 9999)] == [244, 200, 256, 2, 256, 256]


def test_small_chunks_are_looked_at_together() -> None:
    chunks = make((0, 10), (10, 20), (30, 200), (230, 40), (300, 10))

    assert chunks.next_cut(0) == 230
    assert chunks.next_cut(30) == 200
    assert chunks.next_cut(230) == 40
    assert make((0, 100), (100, 200)).next_cut(0) == 100


def versions(tmp_path: Path, *contents: bytes) -> list[Manifest]:
    repository = Repository.open(MemoryBlobStore(), create=True)
    manifests = []
    for version, content in enumerate(contents, 1):
        source = tmp_path / str(version)
        source.mkdir()
        (source / "pages").write_bytes(content)
        manifests.append(repository.put(W, version, source, {}))
        repository.get(W, version, tmp_path / "back")
        assert (tmp_path / "back/pages").read_bytes() == content
    return manifests


def shared(first: Manifest, second: Manifest) -> int:
    return len(set(first.chunks.hashes) & set(second.chunks.hashes))


def test_pages_that_moved_are_cut_at_the_same_places_again(tmp_path: Path) -> None:
    pages = os.urandom(2000 * 4096)

    first, second, third = versions(
        tmp_path,
        pages,
        os.urandom(3 * 4096) + pages,
        os.urandom(3 * 4096) + pages[: 900 * 4096] + pages[907 * 4096 :],
    )

    assert len(first.chunks.hashes) == 8
    assert shared(first, second) >= 6
    assert shared(second, third) >= 5
    assert [pack.pages for pack in second.packs] == [2000, 3]


def test_many_small_moves_do_not_break_a_version_into_small_chunks(tmp_path: Path) -> None:
    contents = [os.urandom(1500 * 4096)]
    for number in range(12):
        place = (number * 97 + 31) * 4096
        contents.append(contents[-1][:place] + os.urandom(4096) + contents[-1][place:])

    last = versions(tmp_path, *contents)[-1]

    assert len(last.chunks.hashes) <= 16


def test_zeros_between_do_not_lose_the_track(tmp_path: Path) -> None:
    pages = os.urandom(600 * 4096)
    zeros = bytes(4096)

    first, second = versions(tmp_path, pages[: 1 << 20] + zeros * 700 + pages, zeros * 5 + pages[: 1 << 20] + pages)

    assert shared(first, second) >= 2
