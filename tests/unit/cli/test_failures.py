"""Errors in the words that users of kubectl know."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep import errors
from swarmkeep.cli.documents import parse_documents
from swarmkeep.cli.failures import explain_document_failure, explain_failure
from swarmkeep.kube.answers import ApiError, error_of

DOCUMENT = parse_documents(
    "apiVersion: swarmkeep.dev/v1alpha1\nkind: CheckpointPolicy\nmetadata:\n  name: redis\nspec:\n  schedule:\n"
    "    evry: 5\n    jitter: x\n",
    "p.yaml",
)[0]


def refusal(code: int, reason: str, message: str, causes: list[dict[str, Any]] | None = None) -> ApiError:
    details = {"name": "redis", "kind": "CheckpointPolicy", "causes": causes or []}
    return error_of(code, {"kind": "Status", "reason": reason, "message": message, "details": details}, {}, "GET /x")


def test_a_refusal_of_the_server_says_its_reason() -> None:
    error = refusal(404, "NotFound", 'workloads.swarmkeep.dev "x" not found')
    assert explain_failure(error) == 'Error from server (NotFound): workloads.swarmkeep.dev "x" not found'


def test_an_error_of_our_own_has_no_server() -> None:
    assert explain_failure(errors.InvalidObject("no such file")) == "error: no such file"


def test_an_answer_without_a_status_object_still_has_a_reason() -> None:
    error = error_of(502, "<html>bad gateway</html>", {}, "GET /apis")
    expected = "Error from server (Unavailable): GET /apis was answered with 502: <html>bad gateway</html>"
    assert explain_failure(error) == expected


def test_an_invalid_object_lists_its_causes() -> None:
    causes = [{"field": "spec.a", "message": "Required value"}, {"field": "spec.b", "message": "spec.b: too long"}]
    text = explain_failure(refusal(422, "Invalid", "...", causes))
    assert text == 'The CheckpointPolicy "redis" is invalid:\n* spec.a: Required value\n* spec.b: too long'


def test_invalid_fields_of_a_file_come_with_their_lines_in_order() -> None:
    causes = [
        {"field": "spec.schedule.jitter", "message": "Invalid value"},
        {"field": "spec.schedule.every", "message": "Required value"},
    ]
    assert explain_document_failure(refusal(422, "Invalid", "...", causes), DOCUMENT) == (
        'p.yaml: CheckpointPolicy "redis" is invalid:\n'
        "  line 6: spec.schedule.every: Required value\n"
        "  line 8: spec.schedule.jitter: Invalid value"
    )


def test_unknown_fields_of_a_file_come_with_line_and_suggestion() -> None:
    message = 'strict decoding error: unknown field "spec.schedule.evry", did you mean "spec.schedule.every"?'
    assert explain_document_failure(refusal(400, "BadRequest", message), DOCUMENT) == (
        'p.yaml: CheckpointPolicy "redis" is invalid:\n'
        '  line 7: unknown field "spec.schedule.evry", did you mean "spec.schedule.every"?'
    )


def test_other_refusals_of_a_file_name_the_place() -> None:
    text = explain_document_failure(refusal(403, "Forbidden", "you may not"), DOCUMENT)
    assert text == 'Error from server (Forbidden): you may not (p.yaml, line 1: CheckpointPolicy "redis")'


def test_fields_of_somebody_else_come_with_a_way_out() -> None:
    causes = [{"reason": "FieldManagerConflict", "field": ".spec.x", "message": 'conflict with "kubectl"'}]
    text = explain_failure(refusal(409, "Conflict", "Apply failed with 1 conflict", causes))
    assert '* .spec.x: conflict with "kubectl"' in text
    assert "--force-conflicts" in text


@pytest.mark.parametrize(("code", "exit_code"), [(404, 1), (409, 1), (403, 1), (422, 2), (400, 2), (503, 3)])
def test_exit_codes(code: int, exit_code: int) -> None:
    assert refusal(code, "", "").exit_code == exit_code
