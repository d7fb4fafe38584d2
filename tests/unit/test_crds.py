"""The definitions in crds/ against Kubernetes' rules, against model/kinds.py and against the samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from swarmkeep.apiserver import jsonpath
from swarmkeep.apiserver.resources import BUILTIN_RESOURCES, Resource, crd_documents, load_registry
from swarmkeep.apiserver.schema import invalid_message, prune_and_default, validate
from swarmkeep.apiserver.structural import schema_problems
from swarmkeep.model import kinds
from swarmkeep.model.checkpoint import How, Passed, Verification
from swarmkeep.plan.verification import Finding, Trial, answer

from .objects import NOW, checkpoint

CRDS = {document["spec"]["names"]["kind"]: document for document in crd_documents()}
REGISTRY = load_registry(CRDS.values())
SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("**/*.yaml"))

CATEGORY = "keep"


def schema_of(kind: str) -> dict[str, Any]:
    schema = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert isinstance(schema, dict)
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


def resource_of(kind: kinds.Kind) -> Resource:
    resource = REGISTRY.by_plural(kind.group, kind.version, kind.plural)
    assert resource is not None
    return resource


def test_the_kind_table_and_the_definitions_name_the_same_kinds() -> None:
    defined = {kinds.Kind(r.group, r.version, r.kind, r.plural, r.namespaced) for r in REGISTRY.all() if r.is_custom}
    assert defined == set(kinds.OURS)


@pytest.mark.parametrize("kind", CRDS)
def test_schemas_are_structural(kind: str) -> None:
    assert schema_problems(schema_of(kind)) == []


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_is_described_in_a_sentence(kind: str) -> None:
    """`explain` prints these; an item of a list may leave it to the list."""
    missing = [
        path
        for path, schema in nodes(schema_of(kind))
        if not path.endswith(("[]", ".*")) and not str(schema.get("description", "")).endswith((".", "?"))
    ]
    assert missing == []


@pytest.mark.parametrize("kind", CRDS)
def test_defaults_are_what_their_own_schema_allows(kind: str) -> None:
    resource = next(r for r in REGISTRY.all() if r.kind == kind and r.is_custom)
    for path, schema in nodes(schema_of(kind)):
        if "default" not in schema:
            continue
        within = Resource(**{**_fields(resource), "schema": {"type": "object", "properties": {"field": schema}}})
        body = prune_and_default(within, {"metadata": {"name": "x"}}).body
        assert [str(error) for error in validate(within, body)] == [], path
        assert "[]" not in path, f"{path}: kubectl prints 'configured' at each apply of a default within a list item"


def _fields(resource: Resource) -> dict[str, Any]:
    return {name: getattr(resource, name) for name in Resource.__dataclass_fields__}


@pytest.mark.parametrize("kind", CRDS)
def test_columns_and_selectable_fields_lead_to_fields(kind: str) -> None:
    version = CRDS[kind]["spec"]["versions"][0]
    known = {path for path, _ in nodes(schema_of(kind))} | {".metadata.creationTimestamp"}
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"]
        jsonpath.find(path, {})
        base, condition, rest = path.partition("[?(")
        assert (f"{base}[]{rest.partition(')]')[2]}" if condition else base) in known, path
        assert column["description"], f"{path} has no description"
    for selectable in version.get("selectableFields", ()):
        assert selectable["jsonPath"] in known


@pytest.mark.parametrize("kind", CRDS)
def test_the_last_column_that_is_always_shown_is_a_time(kind: str) -> None:
    shown = [c for c in CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"] if not c.get("priority")]
    assert shown[-1]["type"] == "date"


@pytest.mark.parametrize("kind", CRDS)
def test_status_is_a_subresource_and_conditions_merge_by_type(kind: str) -> None:
    assert CRDS[kind]["spec"]["versions"][0]["subresources"] == {"status": {}}
    conditions = schema_of(kind)["properties"]["status"]["properties"].get("conditions")
    if conditions is not None:
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_names_are_unique_and_all_kinds_are_in_one_category() -> None:
    ours = [resource_of(kind) for kind in kinds.OURS]
    names = [name for r in (*ours, *BUILTIN_RESOURCES) for name in (r.plural, r.singular, *r.short_names)]
    assert len(names) == len(set(names))
    assert all(CATEGORY in resource.categories for resource in ours)


def test_there_are_samples() -> None:
    assert SAMPLES


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_samples_are_valid_and_say_nothing_unknown(sample: Path) -> None:
    for body in yaml.safe_load_all(sample.read_text("utf-8")):
        group, _, version = body["apiVersion"].rpartition("/")
        resource = REGISTRY.by_kind(group, version, body["kind"])
        assert resource is not None, f"{body['apiVersion']} {body['kind']} is not served"
        result = prune_and_default(resource, body)
        errors = validate(resource, result.body)
        assert result.unknown_fields == []
        assert errors == [], invalid_message(resource, body["metadata"]["name"], errors)


FOLDER: dict[str, Any] = {"filesystem": {"path": "/shared"}}
S3 = {"endpoint": "https://s3.example:9000", "bucket": "versions", "credentialsFile": "/etc/keys"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec"),
        (FOLDER | {"s3": S3}, "spec"),
        ({"s3": S3 | {"endpoint": "https://key:secret@s3.example"}}, "spec.s3.endpoint"),
        ({"s3": S3 | {"endpoint": "s3.example"}}, "spec.s3.endpoint"),
        ({"s3": S3 | {"endpoint": "https://s3.example/bucket"}}, "spec.s3.endpoint"),
        ({"s3": S3 | {"bucket": "No_Bucket"}}, "spec.s3.bucket"),
        ({"s3": S3 | {"prefix": "/a"}}, "spec.s3.prefix"),
        ({"s3": S3 | {"prefix": "a/../b"}}, "spec.s3.prefix"),
        ({"s3": S3 | {"prefix": "a/"}}, "spec.s3.prefix"),
        ({"s3": S3 | {"credentialsFile": "keys"}}, "spec.s3.credentialsFile"),
        ({"s3": {name: value for name, value in S3.items() if name != "credentialsFile"}}, "spec.s3.credentialsFile"),
        (FOLDER | {"bandwidthLimit": "fast"}, "spec.bandwidthLimit"),
        (FOLDER | {"bandwidthLimit": "0"}, "spec.bandwidthLimit"),
    ],
)
def test_a_location_that_could_not_be_used_is_refused_with_the_field(spec: dict[str, Any], field: str) -> None:
    body = {"apiVersion": "swarmkeep.dev/v1alpha1", "kind": "StorageLocation", "metadata": {"name": "x"}, "spec": spec}
    result = prune_and_default(resource_of(kinds.LOCATION), body)
    assert field in {error.path for error in validate(resource_of(kinds.LOCATION), result.body)}


@pytest.mark.parametrize("how", list(How))
@pytest.mark.parametrize(
    "found",
    [
        Finding(NOW, "n1", 1),
        Finding(NOW, "n1", 1, (("image/pages-1.img", "hash"),), not_repaired="no other has it"),
        Finding(NOW, "n1", 1, (("image/pages-1.img", "hash"),), repaired_from="far"),
        Finding(NOW, "n1", 1, trouble="no room"),
        Finding(NOW, "n1", 1, trial=Trial(Passed.FAILED, "no such file", 2, 0.5)),
    ],
)
def test_whatever_an_agent_answers_is_accepted(how: How, found: Finding) -> None:
    item = checkpoint(3, verification=Verification(1, "n1", how, "2026-01-01T12:00:00Z", ("main",)))
    said = {name: value for name, value in answer(item, {}, {"main": found}).items() if value is not None}
    if "restore" in said:
        said["restore"] = {name: value for name, value in said["restore"].items() if value is not None}
    status = {"phase": "Stored", "version": 3, "verified": said}
    body = {"metadata": {"name": "x"}, "spec": {"workload": "redis.1"}, "status": status}
    result = prune_and_default(resource_of(kinds.CHECKPOINT), body)
    assert result.unknown_fields == []
    assert [str(error) for error in validate(resource_of(kinds.CHECKPOINT), result.body)] == []


def test_a_secret_has_no_field_to_stand_in() -> None:
    body = {"metadata": {"name": "x"}, "spec": {"s3": S3 | {"secretKey": "hush"}}}
    assert prune_and_default(resource_of(kinds.LOCATION), body).unknown_fields == ['unknown field "spec.s3.secretKey"']
