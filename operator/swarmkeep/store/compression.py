"""zstd with the length known beforehand: nothing that was stored can make a reader take more memory than it expects."""

from __future__ import annotations

import zstandard

from swarmkeep.errors import CorruptData

_LEVEL = 1
"""Memory images shrink ten times at level 1 already; level 3 takes twice as long for a twelfth more."""


def compress(content: bytes | bytearray | memoryview) -> bytes:
    """One zstd frame that says how long its content is."""
    compressed = zstandard.ZstdCompressor(level=_LEVEL).compress(content)
    # A copy, because what zstd returns stands in a block of memory as large as the input.
    return bytes(memoryview(compressed))


def decompress(stored: bytes | bytearray | memoryview, length: int, what: str) -> bytes:
    """The `length` bytes that `compress` made `stored` of; raises CorruptData about `what`."""
    try:
        if zstandard.frame_content_size(stored) != length:
            raise CorruptData(f"{what} is not as long as it must be")
        content = zstandard.ZstdDecompressor().decompress(stored, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptData(f"{what} cannot be decompressed: {error}") from error
    if len(content) != length:
        raise CorruptData(f"{what} is not as long as it must be")
    return content
