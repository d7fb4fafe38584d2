"""Templates and paths against kubectl's documented examples."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.cli.jsonpath import compile_path, render
from swarmkeep.errors import InvalidObject

LIST: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "redis.1", "labels": {"app.kubernetes.io/name": "redis"}},
            "status": {
                "number": 3,
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Drift", "status": "False"}],
            },
        },
        {"metadata": {"name": "redis.2"}, "status": {"number": 12, "ok": True, "conditions": []}},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.kind}", "List"),
        ("{.items[*].metadata.name}", "redis.1 redis.2"),
        ("{.items[0].metadata.name}", "redis.1"),
        ("{.items[-1].metadata.name}", "redis.2"),
        ("{.items[0:1].metadata.name}", "redis.1"),
        ("{.items[5].metadata.name}", ""),
        ("{.absent.field}", ""),
        ("{..name}", "redis.1 redis.2"),
        ("{.items[?(@.status.number>5)].metadata.name}", "redis.2"),
        ("{.items[?(@.status.ok)].metadata.name}", "redis.2"),
        ("{.items[?(@.metadata.name=='redis.1')].status.number}", "3"),
        ('{.items[0].status.conditions[?(@.type=="Ready")].status}', "True"),
        ('{.items[0].status.conditions[?(@.type!="Ready")].status}', "False"),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", None),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "redis"),
        ("{range .items[*]}{.metadata.name}{'\\t'}{.status.number}{\"\\n\"}{end}", "redis.1\t3\nredis.2\t12\n"),
        ("{range .absent[*]}x{end}y", "y"),
        ("{range .items[*]}[{range .status.conditions[*]}{.type},{end}]{end}", "[Ready,Drift,][]"),
        ("name={.items[0].metadata.name};", "name=redis.1;"),
        ("{.items[1].status}", '{"number":12,"ok":true,"conditions":[]}'),
        ("{$.kind} {@.kind}", "List List"),
        ("plain", "plain"),
    ],
)
def test_templates(template: str, text: str | None) -> None:
    if text is None:
        text = ""
        template = r"{.items[1].metadata.labels.app\.name}"
    assert render(template, LIST) == text


@pytest.mark.parametrize("text", [".kind", "kind", "{.kind}", "$.kind", "{$.kind}"])
def test_a_path_may_be_written_with_or_without_braces(text: str) -> None:
    assert compile_path(text)(LIST) == ["List"]


def test_escaped_dots_belong_to_a_name() -> None:
    assert compile_path(r".labels.app\.name")({"labels": {"app.name": 1}}) == [1]


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{.items[}", "cannot be read from"),
        ("{.kind", "unclosed brace"),
        ("{range .items[*]}x", "without an {end}"),
        ("{end}", "without a {range}"),
        ("{.items[?(@.a==b)]}", "put texts in quotes"),
        ("{.items[?(a=1)]}", "a filter that cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said(template: str, complaint: str) -> None:
    with pytest.raises(InvalidObject, match=complaint):
        render(template, LIST)
