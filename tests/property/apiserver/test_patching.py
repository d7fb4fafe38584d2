import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.apiserver.patching import json_patch, merge_patch
from swarmkeep.errors import UserError

NAMES = st.sampled_from(["a", "b", "c", "d/e", "~"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(child) for name, child in value.items() if child is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_applying_a_merge_patch_twice_is_applying_it_once(base: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(base, patch)
    assert merge_patch(once, patch) == once


@given(OBJECTS)
def test_the_empty_merge_patch_changes_nothing(base: dict[str, Any]) -> None:
    assert merge_patch(base, {}) == base


@given(OBJECTS, OBJECTS)
def test_what_a_merge_patch_does_not_name_stays_and_what_it_names_is_as_it_says(
    base: dict[str, Any], patch: dict[str, Any]
) -> None:
    merged = merge_patch(base, patch)
    for name, value in base.items():
        if name not in patch:
            assert merged[name] == value
    for name, value in patch.items():
        if value is None:
            assert name not in merged
        elif not isinstance(value, dict):
            assert merged[name] == value


def difference(old: Any, new: Any) -> Any:
    """The merge patch from old to new; both without nulls."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    removed = {name: None for name in old if name not in new}
    changed = {
        name: difference(old.get(name), value) for name, value in new.items() if name not in old or old[name] != value
    }
    return removed | changed


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_can_lead_anywhere_where_no_null_is(old: dict[str, Any], new: dict[str, Any]) -> None:
    old, new = without_nulls(old), without_nulls(new)
    assert merge_patch(old, difference(old, new)) == new


POINTERS = st.sampled_from(
    ["", "/a", "/b/a", "/a/0", "/a/-", "/c/1", "/~0", "/d~1e", "b", "/x/y", "/a/01", "/~2", 3, None]
)
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x", None, []]),
        "path": POINTERS,
        "from": POINTERS,
        "value": VALUES,
    },
)


@given(OBJECTS, st.lists(OPERATIONS, max_size=5))
def test_any_json_patch_gives_an_object_or_a_user_error_and_leaves_its_input(
    base: dict[str, Any], operations: list[Any]
) -> None:
    before = repr(base)
    with contextlib.suppress(UserError):
        assert isinstance(json_patch(base, operations), dict)
    assert repr(base) == before
