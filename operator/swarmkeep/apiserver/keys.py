"""Where objects are in etcd: `/registry/<group|core>/<plural>/[<namespace>/]<name>`."""

from __future__ import annotations

from dataclasses import dataclass

from swarmkeep.apiserver.resources import Resource

REGISTRY_PREFIX = "/registry/"

Collection = tuple[str, str]
"""Group and plural; the core group is `core`."""


def collection_of(resource: Resource) -> Collection:
    """The collection that a kind's objects are in."""
    return (resource.group or "core", resource.plural)


def prefix_of(resource: Resource, namespace: str = "") -> str:
    """What the keys of a kind begin with, in one namespace or in all."""
    group, plural = collection_of(resource)
    return f"{REGISTRY_PREFIX}{group}/{plural}/" + (f"{namespace}/" if namespace else "")


def key_of(resource: Resource, namespace: str, name: str) -> str:
    """The key of one object."""
    return prefix_of(resource, namespace if resource.namespaced else "") + name


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """A key taken apart."""

    collection: Collection
    namespace: str
    """Empty for objects without one."""
    name: str


def parse_key(key: str) -> ObjectKey | None:
    """The parts of a key; None if it is not of this form."""
    match key.removeprefix(REGISTRY_PREFIX).split("/"):
        case [group, plural, name]:
            return ObjectKey((group, plural), "", name)
        case [group, plural, namespace, name]:
            return ObjectKey((group, plural), namespace, name)
    return None
