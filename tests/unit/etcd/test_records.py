"""Where a prefix ends."""

from __future__ import annotations

import pytest

from swarmkeep.etcd.records import prefix_end


@pytest.mark.parametrize(
    ("prefix", "end"), [("/registry/", b"/registry0"), ("a", b"b"), ("é", b"\xc3\xaa"), ("", b"\x00")]
)
def test_the_end_of_a_prefix_is_the_first_key_behind_it(prefix: str, end: bytes) -> None:
    assert prefix_end(prefix) == end
