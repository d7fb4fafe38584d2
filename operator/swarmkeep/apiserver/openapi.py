"""OpenAPI v3 documents, one per group and version: what kubectl validates, explains, diffs and edits by.

Called by the /openapi/v3 routes. kubectl looks at three things only: the paths' group-version-kind, that a patch takes
`fieldValidation` and `dryRun` (else it falls back to OpenAPI v2, which we do not serve), and the schemas.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from swarmkeep import __version__
from swarmkeep.apiserver.builtin_schemas import METADATA
from swarmkeep.apiserver.resources import Registry, Resource

Document = dict[str, Any]

_META_PREFIX = "io.k8s.apimachinery.pkg.apis.meta.v1"
_OBJECT_META = f"{_META_PREFIX}.ObjectMeta"
_LIST_META = f"{_META_PREFIX}.ListMeta"

_OPERATIONS = {
    # HTTP method: (verb of a collection, verb of a single object)
    "get": ("list", "get"),
    "post": ("create", None),
    "put": (None, "update"),
    "patch": (None, "patch"),
    "delete": ("deletecollection", "delete"),
}
_WRITES = ("post", "put", "patch")


def index(registry: Registry) -> Document:
    """`GET /openapi/v3`: where each document is. The hash covers the whole document: kubectl caches by it."""
    paths = {}
    for group, versions in registry.groups().items():
        for version in versions:
            found = document(registry, group, version)
            path = _group_path(group, version)
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={document_hash(found)}"}
    return {"paths": paths}


def document(registry: Registry, group: str, version: str) -> Document:
    """`GET /openapi/v3/api/v1` and `GET /openapi/v3/apis/<group>/<version>`; without paths if nothing is served."""
    paths: Document = {}
    schemas: Document = {_OBJECT_META: METADATA, _LIST_META: _LIST_META_SCHEMA}
    for resource in registry.in_group_version(group, version):
        paths.update(_paths(resource))
        name = _schema_name(resource)
        schemas[name] = _with_kind(_object_schema(resource), resource, resource.kind)
        schemas[f"{name}List"] = _with_kind(_list_schema(resource, name), resource, resource.list_kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "SwarmKeep", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def document_hash(content: Document) -> str:
    """A text that changes whenever the document does."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest().upper()


def _group_path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _schema_name(resource: Resource) -> str:
    """As Kubernetes does it: the group reversed, then version and kind, `dev.swarmkeep.v1alpha1.Workload`."""
    group = ".".join(reversed((resource.group or "core.api.k8s.io").split(".")))
    return f"{group}.{resource.version}.{resource.kind}"


def _paths(resource: Resource) -> Document:
    base = f"/{_group_path(resource.group, resource.version)}"
    collection = (
        f"{base}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"
    )
    paths = {
        collection: _path_item(resource, single=False),
        f"{collection}/{{name}}": _path_item(resource, single=True),
    }
    if resource.namespaced:
        everywhere = _path_item(resource, single=False)
        paths[f"{base}/{resource.plural}"] = {"get": everywhere["get"]}
    if resource.has_status:
        status = _path_item(resource, single=True)
        paths[f"{collection}/{{name}}/status"] = {
            name: status[name] for name in ("get", "put", "patch") if name in status
        }
    return paths


def _path_item(resource: Resource, *, single: bool) -> Document:
    group_version_kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    operations: Document = {}
    for method, verbs in _OPERATIONS.items():
        verb = verbs[single]
        if verb not in resource.verbs:
            continue
        parameters = [_query("pretty", "If true, the output is indented.")]
        if method in _WRITES:
            parameters += _WRITE_PARAMETERS
        operations[method] = {
            "x-kubernetes-action": {"create": "post", "update": "put"}.get(verb, verb),
            "x-kubernetes-group-version-kind": group_version_kind,
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
        }
    return operations


def _query(name: str, description: str) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string", "uniqueItems": True}}


_WRITE_PARAMETERS = [
    _query("dryRun", "All: everything is checked, nothing is stored."),
    _query("fieldManager", "The name of who writes."),
    _query("fieldValidation", "What happens to unknown fields: Strict, Warn or Ignore."),
]

_LIST_META_SCHEMA = {
    "type": "object",
    "description": "Metadata of a list.",
    "properties": {
        "resourceVersion": {"type": "string", "description": "The version of the list, from which to watch."},
        "continue": {"type": "string", "description": "Asks for the next part of the list."},
        "remainingItemCount": {"type": "integer", "format": "int64", "description": "How many items are left."},
    },
}


def _reference(name: str, description: str) -> Document:
    return {"description": description, "allOf": [{"$ref": f"#/components/schemas/{name}"}]}


def _object_schema(resource: Resource) -> Document:
    schema = resource.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    metadata = _reference(_OBJECT_META, METADATA["description"])
    return {**schema, "properties": {**schema.get("properties", {}), "metadata": metadata}}


def _list_schema(resource: Resource, item: str) -> Document:
    return {
        "type": "object",
        "description": f"A list of {resource.plural}.",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The versioned schema of the list."},
            "kind": {"type": "string", "description": "The kind of the list."},
            "metadata": _reference(_LIST_META, "Metadata of the list."),
            "items": {
                "type": "array",
                "description": "The objects.",
                "items": {"allOf": [{"$ref": f"#/components/schemas/{item}"}]},
            },
        },
    }


def _with_kind(schema: Document, resource: Resource, kind: str) -> Document:
    identity = {"group": resource.group, "version": resource.version, "kind": kind}
    return {**schema, "x-kubernetes-group-version-kind": [identity]}
