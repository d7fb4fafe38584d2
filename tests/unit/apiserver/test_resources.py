from typing import Any

import pytest

from swarmkeep.apiserver.resources import READ_VERBS, Registry, Resource, crd_documents, crd_objects, load_registry
from swarmkeep.errors import InvalidObject
from swarmkeep.model import kinds


def test_a_crd_becomes_a_resource(widgets: Resource) -> None:
    assert (widgets.api_version, widgets.kind, widgets.list_kind) == ("example.dev/v1", "Widget", "WidgetList")
    assert (widgets.short_names, widgets.categories) == (("wdg",), ("keep",))
    assert widgets.namespaced
    assert widgets.has_status
    assert widgets.is_custom
    assert widgets.selectable_fields == ("spec.color", "status.ready")
    assert [column.name for column in widgets.printer_columns] == ["Size", "Ready", "Seen"]


def test_every_object_gets_the_same_metadata_schema(widgets: Resource, namespaces: Resource) -> None:
    assert widgets.schema is not None
    assert namespaces.schema is not None
    assert widgets.schema["properties"]["metadata"] == namespaces.schema["properties"]["metadata"]
    assert "finalizers" in widgets.schema["properties"]["metadata"]["properties"]


def test_names_in_messages_carry_the_group_unless_it_is_core(widgets: Resource, namespaces: Resource) -> None:
    assert (widgets.qualified_plural, widgets.qualified_kind) == ("widgets.example.dev", "Widget.example.dev")
    assert (namespaces.qualified_plural, namespaces.qualified_kind) == ("namespaces", "Namespace")


def test_the_registry_finds_by_url_and_by_kind(registry: Registry, widgets: Resource) -> None:
    assert registry.by_plural("example.dev", "v1", "widgets") is widgets
    assert registry.by_plural("example.dev", "v2", "widgets") is None
    assert registry.by_kind("example.dev", "v1", "Widget") is widgets
    assert registry.groups()["example.dev"] == ("v1",)
    assert registry.groups()[""] == ("v1",)


def test_builtin_kinds_are_those_of_the_kind_table(registry: Registry) -> None:
    for kind in (kinds.EVENT, kinds.NAMESPACE, kinds.LEASE, kinds.CRD):
        resource = registry.by_plural(kind.group, kind.version, kind.plural)
        assert resource is not None
        assert (resource.kind, resource.namespaced, resource.is_custom) == (kind.name, kind.namespaced, False)


def test_definitions_are_read_only(registry: Registry) -> None:
    resource = registry.by_plural(kinds.CRD.group, kinds.CRD.version, kinds.CRD.plural)
    assert resource is not None
    assert resource.verbs == READ_VERBS


def test_a_definition_is_an_established_object(widget_crd: dict[str, Any]) -> None:
    (obj,) = crd_objects([widget_crd])
    assert {c["type"]: c["status"] for c in obj["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert obj["status"]["storedVersions"] == ["v1"]
    assert obj["status"]["acceptedNames"]["kind"] == "Widget"
    assert crd_objects([widget_crd]) == [obj]


def test_two_definitions_of_one_kind_are_refused(widget_crd: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject, match=r"widgets\.example\.dev/v1 is defined twice"):
        load_registry([widget_crd, widget_crd])


def test_a_definition_with_a_wrong_name_is_refused(widget_crd: dict[str, Any]) -> None:
    widget_crd["metadata"]["name"] = "widget.example.dev"
    with pytest.raises(InvalidObject, match="the name must be <plural>"):
        load_registry([widget_crd])


def test_an_incomplete_definition_is_refused_by_name(widget_crd: dict[str, Any]) -> None:
    del widget_crd["spec"]["versions"][0]["schema"]
    with pytest.raises(InvalidObject, match=r"crd widgets\.example\.dev: incomplete definition: .*schema"):
        load_registry([widget_crd])


def test_a_schema_that_is_not_structural_is_refused_with_the_path(widget_crd: dict[str, Any]) -> None:
    del widget_crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"][
        "type"
    ]
    with pytest.raises(InvalidObject, match=r"spec\.size: has no type"):
        load_registry([widget_crd])


def test_more_than_one_served_version_is_refused(widget_crd: dict[str, Any]) -> None:
    versions = widget_crd["spec"]["versions"]
    versions.append({**versions[0], "name": "v2"})
    with pytest.raises(InvalidObject, match="exactly one served version"):
        load_registry([widget_crd])


def test_the_definitions_that_come_with_swarmkeep_are_found_and_served() -> None:
    registry = load_registry(crd_documents())
    assert all(registry.by_plural(k.group, k.version, k.plural) is not None for k in kinds.OURS)
