"""What the server serves, as clients ask for it: the legacy lists under /api and /apis, and the aggregated form.

Called by the discovery routes. kubectl uses the aggregated form, kopf, kr8s and older kubectls the lists.
"""

from __future__ import annotations

from typing import Any, Literal

from swarmkeep.apiserver.resources import STATUS_VERBS, Registry, Resource

AggregatedVersion = Literal["v2", "v2beta1"]


def core_versions(registry: Registry) -> dict[str, Any]:
    """`GET /api`: the versions of the core group."""
    return {
        "kind": "APIVersions",
        "versions": list(registry.groups().get("", ())),
        "serverAddressByClientCIDRs": [],
    }


def api_groups(registry: Registry) -> dict[str, Any]:
    """`GET /apis`: the named groups."""
    groups = [api_group(registry, name) for name in registry.groups() if name]
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {name: value for name, value in group.items() if name not in ("kind", "apiVersion")}
            for group in groups
            if group
        ],
    }


def api_group(registry: Registry, group: str) -> dict[str, Any] | None:
    """`GET /apis/<group>`; None if there is no such group."""
    versions = registry.groups().get(group)
    if not group or versions is None:
        return None
    described = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": described,
        "preferredVersion": described[0],
    }


def api_resources(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    """`GET /api/v1` and `GET /apis/<group>/<version>`; None if there is no such version."""
    resources = registry.in_group_version(group, version)
    if not resources:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": resources[0].api_version,
        "resources": [entry for resource in resources for entry in _legacy_entries(resource)],
    }


def aggregated(registry: Registry, *, core: bool, version: AggregatedVersion = "v2") -> dict[str, Any]:
    """`GET /api` (core) or `GET /apis` with `as=APIGroupDiscoveryList`: everything in one answer."""
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [
            {"metadata": {"name": group} if group else {}, "versions": [_version(registry, group, v) for v in versions]}
            for group, versions in registry.groups().items()
            if core is (group == "")
        ],
    }


def _status_verbs(resource: Resource) -> tuple[str, ...]:
    """Those of STATUS_VERBS that the kind allows at all: read-only kinds have a read-only status."""
    return tuple(verb for verb in STATUS_VERBS if verb in resource.verbs)


def _legacy_entries(resource: Resource) -> list[dict[str, Any]]:
    entry = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
        **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
        **({"categories": list(resource.categories)} if resource.categories else {}),
    }
    if not resource.has_status:
        return [entry]
    status = {
        "name": f"{resource.plural}/status",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(_status_verbs(resource)),
    }
    return [entry, status]


def _version(registry: Registry, group: str, version: str) -> dict[str, Any]:
    return {
        "version": version,
        "freshness": "Current",
        "resources": [_aggregated_entry(resource) for resource in registry.in_group_version(group, version)],
    }


def _aggregated_entry(resource: Resource) -> dict[str, Any]:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
    }
    if resource.has_status:
        entry["subresources"] = [
            {"subresource": "status", "responseKind": kind, "verbs": list(_status_verbs(resource))}
        ]
    return entry
