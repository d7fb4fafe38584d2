from typing import Any

from swarmkeep.apiserver import openapi
from swarmkeep.apiserver.resources import Registry, load_registry


def test_each_document_is_listed_with_a_hash_of_all_of_it(registry: Registry, widget_crd: dict[str, Any]) -> None:
    before = openapi.index(registry)["paths"]
    assert set(before) == {
        "api/v1",
        "apis/coordination.k8s.io/v1",
        "apis/apiextensions.k8s.io/v1",
        "apis/example.dev/v1",
    }
    schema = widget_crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["size"]["description"] = "changed"
    after = openapi.index(load_registry([widget_crd]))["paths"]
    assert [path for path in before if before[path] != after[path]] == ["apis/example.dev/v1"]


def test_a_patch_says_that_it_validates_fields(registry: Registry) -> None:
    """kubectl apply falls back to OpenAPI v2, which is not served, if this is missing."""
    paths = openapi.document(registry, "example.dev", "v1")["paths"]
    patch = paths["/apis/example.dev/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "example.dev", "version": "v1", "kind": "Widget"}
    assert {"fieldValidation", "dryRun"} <= {parameter["name"] for parameter in patch["parameters"]}


def test_schemas_are_found_by_kind_and_all_references_resolve(registry: Registry) -> None:
    for group, versions in registry.groups().items():
        document = openapi.document(registry, group, versions[0])
        schemas = document["components"]["schemas"]
        kinds = {entry["kind"] for s in schemas.values() for entry in s.get("x-kubernetes-group-version-kind", [])}
        assert {resource.kind for resource in registry.in_group_version(group, versions[0])} <= kinds
        for reference in references(document):
            assert reference.removeprefix("#/components/schemas/") in schemas


def test_read_only_kinds_offer_no_writes(registry: Registry) -> None:
    paths = openapi.document(registry, "apiextensions.k8s.io", "v1")["paths"]
    assert {method for item in paths.values() for method in item} == {"get"}


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [found for name, child in value.items() for found in ([child] if name == "$ref" else references(child))]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []
