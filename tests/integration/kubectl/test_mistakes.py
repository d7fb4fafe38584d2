"""What a user gets wrong is refused, and the field is named."""

import pytest

from .conftest import Kubectl, policy

pytestmark = pytest.mark.etcd


@pytest.mark.parametrize("how", [("apply",), ("apply", "--server-side"), ("create",)], ids=" ".join)
def test_a_misspelt_field_is_refused_with_a_suggestion(kubectl: Kubectl, how: tuple[str, ...]) -> None:
    answer = kubectl.tries(*how, "-f", "-", stdin=policy() + "  retension: {keepLast: 3}\n")
    assert answer.code == 1
    assert 'unknown field "spec.retension", did you mean "spec.retention"?' in answer.err
    assert kubectl.get("cpol")["items"] == []


def test_a_misspelt_field_is_a_warning_if_the_user_says_so(kubectl: Kubectl) -> None:
    body = policy() + "  retension: {keepLast: 3}\n"
    answer = kubectl("apply", "--validate=warn", "-f", "-", stdin=body)
    assert 'Warning: unknown field "spec.retension"' in answer.err
    assert "retension" not in kubectl.get("cpol", "redis")["spec"]


def test_unknown_fields_are_dropped_if_the_user_says_so(kubectl: Kubectl) -> None:
    answer = kubectl("apply", "--validate=ignore", "-f", "-", stdin=policy("x") + "  retension: {}\n")
    assert "unknown field" not in answer.err
    assert "retension" not in kubectl.get("cpol", "x")["spec"]


def test_all_mistakes_are_listed_at_once_by_field(kubectl: Kubectl) -> None:
    body = policy(every="soon") + "  retention: {keepLast: 0}\n  fencing: Sometimes\n  restore: {attempts: many}\n"
    answer = kubectl.tries("apply", "-f", "-", stdin=body)
    assert answer.code == 1
    for expected in (
        'The CheckpointPolicy "redis" is invalid',
        '* spec.schedule.every: Invalid value: "soon": spec.schedule.every in body must be a duration',
        "* spec.retention.keepLast: Invalid value: 0: spec.retention.keepLast in body should be greater than",
        '* spec.fencing: Unsupported value: "Sometimes": supported values: "Strict", "None"',
        '* spec.restore.attempts: Invalid value: "string"',
    ):
        assert expected in answer.err


def test_a_missing_field_is_named(kubectl: Kubectl) -> None:
    answer = kubectl.tries("apply", "-f", "-", stdin=policy().replace("  storage: [main]\n", ""))
    assert answer.code == 1
    assert 'The CheckpointPolicy "redis" is invalid: spec.storage: Required value' in answer.err


def test_two_selectors_are_one_too_many(kubectl: Kubectl) -> None:
    body = policy().replace("{service: redis}", "{service: redis, stack: shop}")
    answer = kubectl.tries("apply", "-f", "-", stdin=body)
    assert "spec.selector: Too many: 2: must have at most 1 items" in answer.err


def test_a_bad_name_is_refused(kubectl: Kubectl) -> None:
    answer = kubectl.tries("apply", "-f", "-", stdin=policy().replace("name: redis", "name: Redis_1", 1))
    assert answer.code == 1
    assert "metadata.name: Invalid value" in answer.err


def test_a_selector_on_a_field_that_cannot_be_selected_by(kubectl: Kubectl) -> None:
    answer = kubectl.tries("get", "wl", "--field-selector=spec.slot=1")
    assert answer.code == 1
    assert "field label not supported: spec.slot" in answer.err


def test_what_is_not_there_is_named(kubectl: Kubectl) -> None:
    answer = kubectl.tries("get", "cpol", "nothing")
    assert answer.code == 1
    assert answer.err == 'Error from server (NotFound): checkpointpolicies.swarmkeep.dev "nothing" not found\n'


def test_a_patch_of_a_wrong_type_is_refused_with_the_field(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    answer = kubectl.tries("patch", "cpol", "redis", "--type=merge", "-p", '{"spec":{"retention":{"keepLast":"x"}}}')
    assert answer.code == 1
    assert "spec.retention.keepLast: Invalid value" in answer.err
