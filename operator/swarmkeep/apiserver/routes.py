"""Takes the path of a request apart. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from swarmkeep.apiserver.resources import Registry, Resource


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A path below /api/v1 or /apis/<group>/<version> that names objects."""

    resource: Resource
    namespace: str
    """Empty for kinds without one, and for all namespaces together."""
    name: str
    """Empty for the collection."""
    subresource: str


def segments_of(path: str) -> list[str] | None:
    """The decoded steps of a raw path; None if one cannot be part of a key. A slash at the end means nothing."""
    steps = [unquote(step) for step in path.split("/")[1:]]
    if steps and steps[-1] == "":
        steps.pop()
    return None if any(not step or "/" in step or "\x00" in step or len(step) > 253 for step in steps) else steps


def group_version_of(steps: list[str]) -> tuple[str, str, list[str]] | None:
    """Group, version and what follows; None if the path does not begin with them."""
    match steps:
        case ["api", version, *rest]:
            return "", version, rest
        case ["apis", group, version, *rest]:
            return group, version, rest
    return None


def object_path(registry: Registry, group: str, version: str, steps: list[str]) -> ObjectPath | None:
    """What the steps behind group and version name; None if nothing is served there."""
    namespace = ""
    match steps:
        case ["namespaces", _, "status"]:
            pass  # of the namespace itself, not a kind called status
        case ["namespaces", namespace_name, _, *_]:
            namespace, steps = namespace_name, steps[2:]
    plural, name, subresource = (*steps, "", "")[:3] if steps else ("", "", "")
    resource = registry.by_plural(group, version, plural)
    if resource is None or len(steps) > 3:
        return None
    if namespace and not resource.namespaced:
        return None
    if name and resource.namespaced and not namespace:
        return None
    if subresource and not (subresource == "status" and resource.has_status):
        return None
    return ObjectPath(resource, namespace, name, subresource)
