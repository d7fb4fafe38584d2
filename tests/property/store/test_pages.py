"""Page tables and the decisions on packs, for whatever hypothesis comes up with."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.errors import DataError
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.page_table import PageTableBuilder, decode_table, encode_table, make_refs
from swarmkeep.store.prune import MIN_LIVE_SHARE, Writer, plan_prune, plan_reuse
from swarmkeep.store.repository import Repository

W = "default/redis.1"
PACKS = 4
PACK_PAGES = 30

runs = st.lists(
    st.tuples(st.integers(-1, PACKS - 1), st.integers(0, PACK_PAGES - 1), st.integers(1, 8)).map(
        lambda run: (run[0], run[1], min(run[2], PACK_PAGES - run[1]))
    ),
    max_size=30,
)


def build(parts: list[tuple[int, int, int]]) -> tuple[PageTableBuilder, list[int]]:
    builder, refs = PageTableBuilder(), []
    for pack, first, count in parts:
        if pack < 0:
            builder.append_zeros(count)
            refs += [0] * count
        else:
            builder.append(make_refs(pack, first, count))
            refs += make_refs(pack, first, count).tolist()
    return builder, refs


@given(runs, st.data())
def test_a_table_gives_back_the_references_it_was_made_of(
    parts: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    builder, refs = build(parts)

    table = builder.build(list(range(PACKS)))

    assert table.pages == len(refs)
    if refs:
        start = data.draw(st.integers(0, len(refs) - 1))
        count = data.draw(st.integers(1, len(refs) - start))
        assert table.expand(start, count).tolist() == refs[start : start + count]
        again = PageTableBuilder()
        for low, high in ((0, start), (start, start + count), (start + count, len(refs))):
            if high > low:
                again.append_runs(*table.cut(low, high - low))
        assert again.build(list(range(PACKS))) == table
    assert decode_table(encode_table(table), len(refs), [PACK_PAGES] * PACKS) == table
    live = table.live_pages(PACKS).tolist()
    assert live == [len({ref for ref in refs if ref >> 32 == pack + 1}) for pack in range(PACKS)]


@given(runs)
def test_packs_that_no_page_lies_in_leave_the_table(parts: list[tuple[int, int, int]]) -> None:
    builder, refs = build(parts)
    used = builder.used_packs()

    table = builder.build(used)

    assert used == sorted({(ref >> 32) - 1 for ref in refs if ref})
    expected = [((used.index((ref >> 32) - 1) + 1) << 32 | ref & 0xFFFFFFFF) if ref else 0 for ref in refs]
    assert (table.expand(0, len(refs)).tolist() if refs else []) == expected


def assert_pages_exist_or_damage(content: bytes, pages: int) -> None:
    try:
        table = decode_table(content, pages, [PACK_PAGES] * PACKS)
    except DataError:
        return
    assert table.pages == pages
    stored = table.packs >= 0
    assert np.all(table.packs < PACKS)
    assert np.all((table.firsts + table.counts)[stored] <= PACK_PAGES)


@given(st.binary(max_size=200), st.integers(0, 100))
def test_bytes_are_a_table_of_pages_that_exist_or_damage(content: bytes, pages: int) -> None:
    assert_pages_exist_or_damage(content, pages)


@given(runs, st.data())
def test_a_changed_table_refers_to_pages_that_exist_or_is_damage(
    parts: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    builder, refs = build([*parts, (0, 0, 1)])
    content = bytearray(encode_table(builder.build(list(range(PACKS)))))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    assert_pages_exist_or_damage(bytes(content), len(refs))


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3000)), max_size=200))
def test_reuse_takes_useful_packs_and_leaves_few_small_ones(sizes: list[tuple[int, int]]) -> None:
    live = [size for size, _ in sizes]
    every = [size + dead for size, dead in sizes]

    chosen = plan_reuse(live, every)

    assert len(set(chosen)) == len(chosen)
    assert all(live[pack] and live[pack] >= every[pack] * MIN_LIVE_SHARE for pack in chosen)
    left = [
        live[pack] for pack in range(len(sizes)) if pack not in chosen and live[pack] >= every[pack] * MIN_LIVE_SHARE
    ]
    if any(left):
        assert len(chosen) >= 96
        assert max(left) <= min(live[pack] for pack in chosen)
        assert sum(left) <= 4096


names = st.sampled_from([f"{attempt:016x}-{number:06}" for attempt in range(4) for number in range(2)])


@given(
    st.frozensets(names),
    st.dictionaries(st.integers(1, 5), st.none() | st.frozensets(names), max_size=4),
    st.lists(
        st.builds(
            Writer,
            st.sampled_from([f"{attempt:016x}" for attempt in range(4)]),
            st.just(9),
            st.none() | st.integers(1, 5),
        ),
        max_size=2,
    ),
)
def test_prune_never_takes_what_somebody_needs(
    packs: frozenset[str], needed: dict[int, frozenset[str] | None], writers: list[Writer]
) -> None:
    gone = plan_prune(packs, needed, writers)

    assert gone <= packs
    for version in needed.values():
        assert not gone & (packs if version is None else version)
    for writer in writers:
        assert not any(name.startswith(writer.attempt) for name in gone)
        assert writer.base is None or writer.base in needed or not gone
    if not writers and None not in needed.values():
        still_needed = {name for names in needed.values() if names is not None for name in names}
        assert gone == packs - still_needed


contents = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=12).map(
    lambda parts: b"".join(bytes([letter]) * 4096 * count for letter, count in parts)
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(contents, contents, st.integers(0, 4095)), min_size=2, max_size=6), st.data())
def test_pruning_any_versions_leaves_the_others_byte_for_byte(
    history: list[tuple[bytes, bytes, int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        blobs = MemoryBlobStore()
        repository = Repository.open(blobs, create=True)
        source, back = Path(scratch, "source"), Path(scratch, "back")
        source.mkdir()
        for version, (first, second, cut) in enumerate(history, 1):
            (source / "first").write_bytes(first)
            (source / "second").write_bytes(second[: max(0, len(second) - cut)])
            repository.put(W, version, source, {})
        kept = set(range(1, len(history) + 1))
        for version in data.draw(st.lists(st.sampled_from(sorted(kept)), unique=True)):
            repository.delete(W, version)
            kept.discard(version)

        assert set(repository.versions(W)) == kept
        for version in kept:
            first, second, cut = history[version - 1]
            repository.get(W, version, back)
            assert (back / "first").read_bytes() == first
            assert (back / "second").read_bytes() == second[: max(0, len(second) - cut)]
        packs = {name for version in kept for name in (pack.name for pack in repository.manifest(W, version).packs)}
        assert {info.key.rpartition("/")[2] for info in blobs.list("packs/")} == packs


def is_damaged(repository: Repository) -> bool:
    try:
        return bool(repository.verify(W, 1))
    except DataError:
        return True


@settings(max_examples=60, deadline=None)
@given(contents, st.data())
def test_changed_storage_is_never_restored_as_something_else(content: bytes, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        blobs = MemoryBlobStore()
        repository = Repository.open(blobs, create=True)
        source, back = Path(scratch, "source"), Path(scratch, "back")
        source.mkdir()
        (source / "file").write_bytes(content + b"tail")
        repository.put(W, 1, source, {})
        key = data.draw(st.sampled_from(sorted(info.key for info in blobs.list("") if info.key.startswith(("m", "p")))))
        stored = bytearray(blobs.get(key, 1 << 30))
        place = data.draw(st.integers(0, 100_000)) % len(stored)
        stored[place] ^= data.draw(st.integers(1, 255))
        blobs.delete(key)
        blobs.put(key, [stored])

        assert is_damaged(repository)
        try:
            repository.get(W, 1, back)
        except DataError:
            assert not back.exists()
        else:
            assert (back / "file").read_bytes() == content + b"tail"
