"""Objects as stored bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.apiserver import codec

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, JSON, max_size=3), st.dictionaries(TEXT, JSON, max_size=3), st.integers(1, 2**62))
def test_the_version_is_put_in_and_nothing_else_changes(
    metadata: dict[str, Any], rest: dict[str, Any], revision: int
) -> None:
    metadata = {"name": "n", **metadata}
    obj = {**rest, "metadata": metadata, "kind": "K", "apiVersion": "g/v1"}
    raw = codec.encode(obj)
    expected = {**obj, "metadata": {**metadata, "resourceVersion": str(revision)}}
    assert codec.decode(raw, revision) == expected
    assert json.loads(codec.stamp(raw, revision)) == expected
    assert codec.encode(codec.decode(raw, revision)) == raw


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_say_is_not_stored(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.encode({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": value})
