"""CRIU's figures, from bytes that CRIU wrote and from bytes that it did not."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.agent.runtime.dump_stats import parse_dump_stats
from swarmkeep.errors import CorruptData

WRITTEN_BY_CRIU_4_2_1 = bytes.fromhex(
    "40591055063309572a0000000a2808d10710a5ab24188c9c1920fafd1228e49b0b300038d29a0b400048005009580960e7066800700c"
)


def test_reads_what_criu_wrote() -> None:
    stats = parse_dump_stats(WRITTEN_BY_CRIU_4_2_1)
    assert stats.freezing_s == 0.000977
    assert stats.frozen_s == 0.595365
    assert stats.memory_dump_s == 0.413196
    assert stats.memory_write_s == 0.311034
    assert (stats.pages_scanned, stats.pages_written) == (183780, 183634)


def test_skips_fields_that_a_newer_criu_may_add() -> None:
    inner = bytes.fromhex("2805" + "d50801020304" + "d908" + "00" * 8 + "e20803616263")
    body = b"\x0a" + bytes([len(inner)]) + inner
    assert parse_dump_stats(WRITTEN_BY_CRIU_4_2_1[:8] + struct.pack("<I", len(body)) + body).pages_scanned == 5


def test_tells_when_it_is_no_such_file() -> None:
    with pytest.raises(CorruptData, match="magic"):
        parse_dump_stats(bytes(54))


@given(st.integers(0, len(WRITTEN_BY_CRIU_4_2_1) - 1))
def test_never_reads_figures_from_a_file_that_was_cut_off(length: int) -> None:
    with pytest.raises(CorruptData):
        parse_dump_stats(WRITTEN_BY_CRIU_4_2_1[:length])


@given(st.binary(max_size=80))
def test_survives_any_bytes(body: bytes) -> None:
    head = WRITTEN_BY_CRIU_4_2_1[:8] + struct.pack("<I", len(body))
    with contextlib.suppress(CorruptData):
        parse_dump_stats(head + body)
