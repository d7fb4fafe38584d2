import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.apiserver.apply import ApplyConflict, drop_ownership, server_side_apply
from swarmkeep.apiserver.field_sets import decode, encode, fields_of

from .objects import RESOURCE, SCHEMA, VALID_SPEC, thing

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def apply(live: Any, spec: Any, manager: str = "alice", *, force: bool = False, now: datetime = NOW) -> dict[str, Any]:
    return server_side_apply(RESOURCE, live, thing(spec), manager, force, now)


@given(VALID_SPEC)
def test_field_sets_read_back(spec: dict[str, Any]) -> None:
    paths = fields_of(thing(spec), SCHEMA)
    assert decode(encode(paths)) == paths


@given(VALID_SPEC, VALID_SPEC)
def test_applying_the_same_again_changes_nothing(first: dict[str, Any], second: dict[str, Any]) -> None:
    obj = apply(apply(None, first), second)
    assert apply(obj, second, now=NOW + timedelta(days=1)) == obj


def by_key(spec: dict[str, Any]) -> dict[str, Any]:
    """Lists of type set and map have no order of their own, nor have the fields of their items."""
    return {name: sorted(value, key=_text) if name in ("set", "items") else value for name, value in spec.items()}


def _text(item: Any) -> str:
    return json.dumps(item, sort_keys=True)


@given(VALID_SPEC, VALID_SPEC)
def test_the_only_applier_gets_exactly_what_it_says(first: dict[str, Any], second: dict[str, Any]) -> None:
    obj = apply(apply(None, first), second)
    assert by_key(obj.get("spec", {})) == by_key(second)


@given(VALID_SPEC, VALID_SPEC, VALID_SPEC)
def test_no_applier_loses_what_it_owns_without_a_conflict(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    obj = apply(None, first, "alice")
    for spec in (second, third):
        try:
            obj = apply(obj, spec, "bob")
        except ApplyConflict:
            continue
        assert apply(obj, first, "alice") == obj


@given(VALID_SPEC, VALID_SPEC)
def test_force_always_wins_and_then_nobody_disagrees(first: dict[str, Any], second: dict[str, Any]) -> None:
    obj = apply(apply(None, first, "alice"), second, "bob", force=True)
    assert apply(obj, second, "bob") == obj


@given(VALID_SPEC, VALID_SPEC)
def test_ownership_never_names_what_another_writer_changed(first: dict[str, Any], second: dict[str, Any]) -> None:
    obj = apply(None, first)
    updated = drop_ownership(obj, {**obj, "spec": second})
    assert updated["spec"] == second
    apply(updated, second, "bob")  # all that differs was let go, so there is nothing to fight over


@given(VALID_SPEC, VALID_SPEC, st.booleans())
def test_the_inputs_stay_as_they_are(first: dict[str, Any], second: dict[str, Any], force: bool) -> None:
    live = apply(None, first, "alice")
    before = repr(live)
    with contextlib.suppress(ApplyConflict):
        apply(live, second, "bob", force=force)
    assert repr(live) == before
