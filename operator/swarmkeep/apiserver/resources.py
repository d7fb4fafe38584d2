"""What the API serves: one `Resource` per kind, from CRD documents and a few built-in Kubernetes kinds.

Called by the HTTP half at start (`load_registry(crd_documents())`) and on every request (`Registry.by_plural`); read
by discovery, openapi, schema, selectors and tables. Knows names and schemas, not what any kind means.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources as package_resources
from pathlib import Path
from typing import Any

import yaml

from swarmkeep.apiserver import builtin_schemas
from swarmkeep.apiserver.structural import schema_problems
from swarmkeep.errors import InvalidObject
from swarmkeep.model import kinds

READ_VERBS = ("get", "list", "watch")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
STATUS_VERBS = ("get", "patch", "update")

EVENT_FIELDS = (
    *(f"involvedObject.{name}" for name in builtin_schemas.OBJECT_REFERENCE_PROPERTIES),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
"""What Kubernetes lets events be selected by; `source` stands for source.component."""


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """One column of `kubectl get`, as a CRD's additionalPrinterColumns declares it."""

    name: str
    type: str
    """string, integer, number, boolean or date."""
    path: str
    """JSONPath into the object, for example `.status.phase`."""
    description: str = ""
    priority: int = 0
    """0 is always shown, anything above only with `-o wide`."""
    format: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object that the API serves."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    namespaced: bool
    has_status: bool
    """Whether status is a subresource, written apart from the rest."""
    schema: dict[str, Any] | None = field(repr=False, hash=False, compare=False)
    """OpenAPI v3 schema of the whole object, metadata included. None: anything goes."""
    printer_columns: tuple[PrinterColumn, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    """Field selectors beside metadata.name and metadata.namespace, for example `status.phase`."""
    is_custom: bool = False
    verbs: tuple[str, ...] = ALL_VERBS
    """What clients may do with it; status writes are separate (STATUS_VERBS)."""

    @property
    def api_version(self) -> str:
        """What an object's `apiVersion` says."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """`kind` of a list of them."""
        return f"{self.kind}List"

    @property
    def qualified_plural(self) -> str:
        """The plural with the group, as error messages name it: `workloads.swarmkeep.dev`, `namespaces`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind with the group, as validation errors name it: `Workload.swarmkeep.dev`, `Namespace`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


class Registry:
    """All kinds that are served. Immutable after it is built."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_plural: dict[tuple[str, str, str], Resource] = {}
        for resource in resources:
            key = (resource.group, resource.version, resource.plural)
            if key in self._by_plural:
                raise InvalidObject(f"{resource.qualified_plural}/{resource.version} is defined twice")
            self._by_plural[key] = resource

    def by_plural(self, group: str, version: str, plural: str) -> Resource | None:
        """The kind that a URL names; None if it is not served."""
        return self._by_plural.get((group, version, plural))

    def by_kind(self, group: str, version: str, kind: str) -> Resource | None:
        """The kind that an object's apiVersion and kind name; None if it is not served."""
        return next((r for r in self.all() if (r.group, r.version, r.kind) == (group, version, kind)), None)

    def all(self) -> tuple[Resource, ...]:
        """Every kind, in the order of definition, built-in kinds first."""
        return tuple(self._by_plural.values())

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Versions by group, the core group (empty name) included."""
        groups: dict[str, dict[str, None]] = {}
        for resource in self.all():
            groups.setdefault(resource.group, {})[resource.version] = None
        return {group: tuple(versions) for group, versions in groups.items()}

    def in_group_version(self, group: str, version: str) -> tuple[Resource, ...]:
        """The kinds of one group and version, ordered by plural."""
        found = (r for r in self.all() if (r.group, r.version) == (group, version))
        return tuple(sorted(found, key=lambda resource: resource.plural))


def load_registry(crd_documents: Iterable[Mapping[str, Any]]) -> Registry:
    """The built-in kinds and those that the documents define. Raises InvalidObject if one cannot be served."""
    return Registry([*BUILTIN_RESOURCES, *(_custom_resource(document) for document in crd_documents)])


def crd_documents() -> list[dict[str, Any]]:
    """The CRDs that come with SwarmKeep: in an installed package from `swarmkeep/crds`, in a checkout from `crds`.

    The only function of this module that reads files. Raises InvalidObject if there are none or one is not readable.
    """
    packaged = package_resources.files("swarmkeep") / "crds"
    folder = packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "crds"
    if not folder.is_dir():
        raise InvalidObject("SwarmKeep's crds folder is missing: the installation is not complete, install it again")
    documents: list[dict[str, Any]] = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if not entry.name.endswith((".yaml", ".yml")):
            continue
        try:
            documents += [document for document in yaml.safe_load_all(entry.read_text("utf-8")) if document]
        except yaml.YAMLError as error:
            raise InvalidObject(f"{entry.name} is no YAML: {error}") from error
    if not documents:
        raise InvalidObject("SwarmKeep's crds folder is empty: the installation is not complete, install it again")
    return documents


def crd_objects(documents: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents as the read-only objects that clients list and wait for; equal documents give equal objects."""
    return [_crd_object(document) for document in documents]


def _crd_object(document: Mapping[str, Any]) -> dict[str, Any]:
    spec, name = document["spec"], document["metadata"]["name"]
    conditions = [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "the kind is served"},
    ]
    return {
        "apiVersion": kinds.CRD.api_version,
        "kind": kinds.CRD.name,
        "metadata": {
            "name": name,
            "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            "generation": 1,
            **{key: document["metadata"][key] for key in ("labels", "annotations") if key in document["metadata"]},
        },
        "spec": {"conversion": {"strategy": "None"}, **spec},
        "status": {
            "acceptedNames": spec["names"],
            "conditions": conditions,
            "storedVersions": [version["name"] for version in spec["versions"] if version.get("storage")],
        },
    }


def _custom_resource(document: Mapping[str, Any]) -> Resource:
    name = (document.get("metadata") or {}).get("name", "?")
    try:
        spec = document["spec"]
        names, versions = spec["names"], [version for version in spec["versions"] if version.get("served")]
        if len(versions) != 1:
            raise InvalidObject(f"crd {name}: exactly one served version is supported, found {len(versions)}")
        version = versions[0]
        schema = version["schema"]["openAPIV3Schema"]
        if name != f"{names['plural']}.{spec['group']}":
            raise InvalidObject(f"crd {name}: the name must be <plural>.<group>")
        if problems := schema_problems(schema):
            raise InvalidObject(f"crd {name}: the schema is not structural: {'; '.join(problems)}")
        return Resource(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            short_names=tuple(names.get("shortNames", ())),
            categories=tuple(names.get("categories", ())),
            namespaced=spec["scope"] == "Namespaced",
            has_status="status" in (version.get("subresources") or {}),
            schema=_with_metadata(schema),
            printer_columns=tuple(_printer_column(column) for column in version.get("additionalPrinterColumns", ())),
            selectable_fields=tuple(
                selectable["jsonPath"].lstrip(".") for selectable in version.get("selectableFields", ())
            ),
            is_custom=True,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidObject(f"crd {name}: incomplete definition: {error!r}") from error


def _with_metadata(schema: Mapping[str, Any]) -> dict[str, Any]:
    """CRDs say only `metadata: {type: object}`; the rest of it is the same for all objects."""
    return {**schema, "properties": {**schema.get("properties", {}), "metadata": builtin_schemas.METADATA}}


def _printer_column(column: Mapping[str, Any]) -> PrinterColumn:
    return PrinterColumn(
        name=column["name"],
        type=column["type"],
        path=column["jsonPath"],
        description=column.get("description", ""),
        priority=column.get("priority", 0),
        format=column.get("format", ""),
    )


def _builtin(kind: kinds.Kind, schema: dict[str, Any], **more: Any) -> Resource:
    return Resource(
        group=kind.group,
        version=kind.version,
        kind=kind.name,
        plural=kind.plural,
        singular=kind.name.lower(),
        namespaced=kind.namespaced,
        schema=schema,
        **{"short_names": (), "categories": (), "has_status": False, **more},
    )


_AGE = PrinterColumn("Age", "date", ".metadata.creationTimestamp", "Time since the object was made")

BUILTIN_RESOURCES = (
    _builtin(
        kinds.NAMESPACE,
        builtin_schemas.NAMESPACE,
        short_names=("ns",),
        has_status=True,
        selectable_fields=("status.phase",),
        printer_columns=(PrinterColumn("Status", "string", ".status.phase", "Active or Terminating"), _AGE),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    ),
    _builtin(kinds.EVENT, builtin_schemas.EVENT, short_names=("ev",), selectable_fields=EVENT_FIELDS),
    _builtin(
        kinds.LEASE,
        builtin_schemas.LEASE,
        printer_columns=(PrinterColumn("Holder", "string", ".spec.holderIdentity", "Who holds the lease"), _AGE),
    ),
    _builtin(
        kinds.CRD,
        builtin_schemas.CUSTOM_RESOURCE_DEFINITION,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        has_status=True,
        printer_columns=(
            PrinterColumn("Created At", "string", ".metadata.creationTimestamp", "When it was first served"),
        ),
        verbs=READ_VERBS,
    ),
)
