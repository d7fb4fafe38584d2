from typing import Any

from hypothesis import given

from swarmkeep.apiserver.schema import prune_and_default, validate

from .objects import ANY_SPEC, JSON, RESOURCE, VALID_SPEC, thing


@given(ANY_SPEC)
def test_pruning_and_defaulting_again_changes_nothing(spec: Any) -> None:
    once = prune_and_default(RESOURCE, thing(spec))
    again = prune_and_default(RESOURCE, once.body)
    assert again.body == once.body
    assert again.unknown_fields == []


@given(ANY_SPEC)
def test_the_input_stays_as_it_is(spec: Any) -> None:
    body = thing(spec)
    before = repr(body)
    validate(RESOURCE, prune_and_default(RESOURCE, body).body)
    assert repr(body) == before


@given(VALID_SPEC)
def test_what_is_valid_stays_so_and_loses_nothing(spec: dict[str, Any]) -> None:
    result = prune_and_default(RESOURCE, thing(spec))
    assert result.unknown_fields == []
    assert validate(RESOURCE, result.body) == []
    for name, value in spec.items():
        found = result.body["spec"][name]
        assert found == value if name != "inner" else found.items() >= value.items()


@given(JSON)
def test_any_json_is_judged_without_a_crash(value: Any) -> None:
    body = value if isinstance(value, dict) else {"metadata": value, "spec": value}
    validate(RESOURCE, prune_and_default(RESOURCE, body).body)
