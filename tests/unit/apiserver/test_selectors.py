from typing import Any

import pytest

from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.selectors import parse_field_selector, parse_label_selector
from swarmkeep.errors import UserError


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a = b", {"a": "b"}, True),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {}, True),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("! a", {"a": "x"}, False),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,y),b", {"a": "y"}, False),
        ("a in (,x)", {"a": ""}, True),
        ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False),
        ("a>5", {"a": "6"}, True),
        ("a<5", {"a": "4"}, True),
        ("a<5", {"a": "many"}, False),
        ("swarmkeep.dev/node=n1,in", {"swarmkeep.dev/node": "n1", "in": ""}, True),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], selected: bool) -> None:
    assert parse_label_selector(selector)(labels) is selected


@pytest.mark.parametrize(
    "selector",
    ["=", "a=b=c", "a,,b", "a,", ",a", "a in x", "a in (x", "a b", "a>x", "a=b c", "!", "!a=b", "(", "a/b/c"],
)
def test_a_label_selector_that_makes_no_sense_is_refused_and_repeated(selector: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_label_selector(selector)
    assert repr(selector) in str(caught.value)


WIDGET: dict[str, Any] = {
    "metadata": {"name": "w", "namespace": "shop"},
    "spec": {"color": "red,green=1"},
    "status": {"ready": True},
}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", True),
        ("metadata.name=w", True),
        ("metadata.name=w,", True),
        ("metadata.name=w,metadata.name=w", True),
        ("metadata.name=w,metadata.name=v", False),
        ("metadata.name==w,metadata.namespace!=shop", False),
        ("status.ready=true", True),
        ("status.ready!=true", False),
        (r"spec.color=red\,green\=1", True),
        ("spec.color!=", True),
    ],
)
def test_field_selectors(widgets: Resource, selector: str, selected: bool) -> None:
    assert parse_field_selector(selector, widgets)(WIDGET) is selected


def test_a_missing_field_is_an_empty_text(widgets: Resource) -> None:
    assert parse_field_selector("spec.color=", widgets)({"metadata": {"name": "w"}})


def test_a_selector_for_one_name_says_so(widgets: Resource) -> None:
    assert parse_field_selector("metadata.name=w,spec.color!=x", widgets).equal == {"metadata.name": "w"}


@pytest.mark.parametrize("selector", ["spec.size=1", "color=red", "metadata.labels=x"])
def test_other_fields_are_refused_by_name(widgets: Resource, selector: str) -> None:
    with pytest.raises(UserError, match=f"field label not supported: {selector.split('=')[0]}"):
        parse_field_selector(selector, widgets)


@pytest.mark.parametrize("selector", ["metadata.name", "=w", r"metadata.name=a\b", "metadata.name=a=b"])
def test_a_field_selector_that_makes_no_sense_is_refused(widgets: Resource, selector: str) -> None:
    with pytest.raises(UserError, match="invalid selector"):
        parse_field_selector(selector, widgets)


def test_events_are_selected_as_kubectl_describe_does(events: Resource) -> None:
    event = {"involvedObject": {"kind": "Workload", "name": "redis.1"}, "source": {"component": "swarmkeep-agent"}}
    selector = "involvedObject.kind=Workload,involvedObject.name=redis.1,involvedObject.namespace="
    assert parse_field_selector(selector, events)(event)
    assert parse_field_selector("source=swarmkeep-agent", events)(event)
    assert not parse_field_selector("involvedObject.uid=1", events)(event)
