"""Reads the pages of a version out of packs: each frame once, and never unchecked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swarmkeep.errors import DataError, MissingData, NotFound
from swarmkeep.store.blob import BlobStore
from swarmkeep.store.deadline import Deadline
from swarmkeep.store.folder_writer import FolderWriter
from swarmkeep.store.keys import pack_key
from swarmkeep.store.layout import Layout, split_ranges
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.pack import (
    HEADER_BYTES,
    FrameTable,
    PackInfo,
    check_header,
    open_frame,
    read_frame_table,
    read_page_hashes,
)
from swarmkeep.store.page_table import PAGE_BYTES, Integers

_READ_BYTES = 4 << 20
"""Frames that lie side by side are read together up to this."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of one pack's pages that the version needs, each inside one frame, in the order of the frames."""

    frames: Integers
    starts: Integers
    """In the pack, in pages."""
    counts: Integers
    files: Integers
    file_pages: Integers
    """Where it belongs in its file, in pages."""


class VersionReader:
    """Reads one version. Memory: a few frames, and the parts of one pack."""

    def __init__(
        self,
        blobs: BlobStore,
        manifest: Manifest,
        layout: Layout,
        deadline: Deadline,
        wanted: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """`wanted`: for each page of the stream whether it is to be read at all."""
        self._blobs = blobs
        self._manifest = manifest
        self._layout = layout
        self._deadline = deadline
        self._pieces = layout.pieces(manifest.table, wanted)

    def restore(self, writer: FolderWriter) -> None:
        """Writes all pages to their places. Raises MissingData, CorruptData, NewerFormat, and what `writer` raises."""
        for number, pack in enumerate(self._manifest.packs):
            if not len(self._pieces_of(number)):
                continue
            table = self._frame_table(pack)
            parts = self._parts(number, table)
            frames, bounds = np.unique(parts.frames, return_index=True)
            rows = list(
                zip(
                    (parts.starts - table.begins[parts.frames]).tolist(),
                    parts.counts.tolist(),
                    parts.files.tolist(),
                    (parts.file_pages * PAGE_BYTES).tolist(),
                    strict=True,
                )
            )
            ends = [*bounds[1:].tolist(), len(rows)]
            stored = self._frames(pack, table, frames.tolist())
            for frame, first, last in zip(frames.tolist(), bounds.tolist(), ends, strict=True):
                pages = memoryview(open_frame(pack, table, frame, next(stored)))
                for start, count, file, offset in rows[first:last]:
                    writer.write(file, offset, pages[start * PAGE_BYTES : (start + count) * PAGE_BYTES])

    def damaged_files(self, *, full: bool) -> dict[int, str]:
        """What is wrong, by number of the file in the layout. With `full` every frame is opened."""
        found: dict[int, str] = {}
        for number, pack in enumerate(self._manifest.packs):
            try:
                table = self._frame_table(pack)
                offset, length = pack.page_hashes_range
                if full:
                    read_page_hashes(pack, self._read(pack, offset, length))
                else:
                    self._read(pack, pack.size - 1, 1)
            except DataError as error:
                for file in np.unique(self._pieces.files[self._pieces_of(number)]).tolist():
                    found.setdefault(file, str(error))
                continue
            if not full:
                continue
            parts = self._parts(number, table)
            for frame in np.unique(parts.frames).tolist():
                try:
                    open_frame(pack, table, frame, next(self._frames(pack, table, [frame])))
                except DataError as error:
                    for file in np.unique(parts.files[parts.frames == frame]).tolist():
                        found.setdefault(file, str(error))
        return found

    def _pieces_of(self, pack: int) -> Integers:
        return np.flatnonzero(self._pieces.refs >> np.uint64(32) == pack + 1)

    def _parts(self, number: int, table: FrameTable) -> _Parts:
        chosen = self._pieces_of(number)
        firsts = (self._pieces.refs[chosen] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        which, frames, starts, ends = split_ranges(firsts, firsts + self._pieces.counts[chosen], table.begins)
        pieces = chosen[which]
        files = self._pieces.files[pieces]
        file_pages = self._pieces.starts[pieces] + (starts - firsts[which]) - self._layout.begins[files]
        order = np.lexsort((starts, frames))
        return _Parts(frames[order], starts[order], (ends - starts)[order], files[order], file_pages[order])

    def _frame_table(self, pack: PackInfo) -> FrameTable:
        check_header(pack, self._read(pack, 0, HEADER_BYTES))
        return read_frame_table(pack, self._read(pack, *pack.frame_table_range))

    def _frames(self, pack: PackInfo, table: FrameTable, frames: list[int]) -> Iterator[memoryview]:
        """The stored bytes of the frames, which ascend."""
        position = 0
        while position < len(frames):
            start = int(table.offsets[frames[position]])
            last = position
            while (
                last + 1 < len(frames)
                and frames[last + 1] == frames[last] + 1
                and table.offsets[frames[last + 1] + 1] - start <= _READ_BYTES
            ):
                last += 1
            content = memoryview(self._read(pack, start, int(table.offsets[frames[last] + 1]) - start))
            for frame in frames[position : last + 1]:
                self._deadline.check()
                yield content[int(table.offsets[frame]) - start : int(table.offsets[frame + 1]) - start]
            position = last + 1

    def _read(self, pack: PackInfo, offset: int, length: int) -> bytes:
        try:
            return self._blobs.read(pack_key(self._manifest.workload, pack.name), offset, length)
        except NotFound as error:
            raise MissingData(f"pack {pack.name} is gone: {error}") from error
