"""What the API serves, asked from the API itself: names of kinds as users type them become Kinds.

Used by all verbs that take `workloads`, `wl`, `wl/redis.1` or a category like `keep`.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarmkeep.errors import InvalidObject
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import GROUP, Kind

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind with all names that it goes by."""

    kind: Kind
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How an object of it is named in output: `workload.swarmkeep.dev`, or just `event`."""
        return f"{self.singular}.{self.kind.group}" if self.kind.group else self.singular

    @property
    def full_name(self) -> str:
        """`workloads.swarmkeep.dev`."""
        return f"{self.kind.plural}.{self.kind.group}" if self.kind.group else self.kind.plural

    def called(self, word: str) -> bool:
        """Whether `word`, in lower case, is one of its names."""
        names = {self.kind.plural, self.singular, self.kind.name.lower(), *self.short_names}
        bare, dot, rest = word.partition(".")
        if not dot:
            return word in names
        group = self.kind.group
        return bare in names and rest in (group, f"{self.kind.version}.{group}", f"{self.kind.version}.")


@dataclass(frozen=True, slots=True)
class Selected:
    """What the user asked for of one kind: certain objects, or all when `names` is empty."""

    resource: Resource
    names: tuple[str, ...] = ()


class Catalogue:
    """All kinds that the API serves."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        # Ours first: on a real cluster `node` would else be somebody else's.
        self.resources: Sequence[Resource] = sorted(resources, key=lambda resource: resource.kind.group != GROUP)

    def named(self, word: str) -> Resource:
        """The kind that a user calls `word`. Raises InvalidObject with what is near."""
        for resource in self.resources:
            if resource.called(word.lower()):
                return resource
        known = {name for r in self.resources for name in (r.kind.plural, r.singular, *r.short_names, *r.categories)}
        near = difflib.get_close_matches(word.lower(), known, n=1)
        raise InvalidObject(
            f'the server doesn\'t have a resource type "{word}"' + (f', did you mean "{near[0]}"?' if near else "")
        )

    def of_object(self, body: Mapping[str, Any]) -> Resource:
        """The kind of an object by its apiVersion and kind. Raises InvalidObject."""
        for resource in self.resources:
            if (resource.kind.api_version, resource.kind.name) == (body["apiVersion"], body["kind"]):
                return resource
        names = {f"{r.kind.name} in {r.kind.api_version}" for r in self.resources}
        near = difflib.get_close_matches(f"{body['kind']} in {body['apiVersion']}", names, n=1)
        raise InvalidObject(
            f'no matches for kind "{body["kind"]}" in version "{body["apiVersion"]}"'
            + (f", did you mean {near[0]}?" if near else "")
        )

    def select(self, words: Sequence[str]) -> list[Selected]:
        """What command-line words ask for: `wl`, `wl,cpol`, `keep`, `wl redis.1 redis.2` or `wl/redis.1 cpol/redis`.

        Raises InvalidObject.
        """
        if not words:
            raise InvalidObject("you must say what: a kind such as workloads, or kind/name")
        if any("/" in word for word in words):
            return self._pairs(words)
        kinds = [kind for word in words[0].split(",") if word for kind in self._kinds(word)]
        unique = list(dict.fromkeys(kinds))
        if len(words) > 1 and len(unique) > 1:
            raise InvalidObject("names can be given for one kind only; write kind/name for several")
        return [Selected(kind, tuple(dict.fromkeys(words[1:]))) for kind in unique]

    def _pairs(self, words: Sequence[str]) -> list[Selected]:
        by_kind: dict[Resource, list[str]] = {}
        for word in words:
            kind, slash, name = word.partition("/")
            if not (kind and slash and name) or "/" in name:
                raise InvalidObject(f"{word!r} must be of the form kind/name here, since others are")
            by_kind.setdefault(self.named(kind), []).append(name)
        return [Selected(kind, tuple(dict.fromkeys(names))) for kind, names in by_kind.items()]

    def _kinds(self, word: str) -> list[Resource]:
        """One kind, or all listable ones of a category."""
        if any(resource.called(word.lower()) for resource in self.resources):
            return [self.named(word)]
        members = [r for r in self.resources if word.lower() in r.categories and "list" in r.verbs]
        return members or [self.named(word)]


async def discover(client: Client) -> Catalogue:
    """Asks the API what it serves, in two requests at once."""
    core, named = await asyncio.gather(_groups(client, "/api"), _groups(client, "/apis"))
    return Catalogue(_resources([*core, *named]))


async def _groups(client: Client, path: str) -> list[dict[str, Any]]:
    answer = await client.transport.request("GET", path, headers={"Accept": _AGGREGATED}, repeatable=True)
    if not isinstance(answer.body, dict) or answer.body.get("kind") != "APIGroupDiscoveryList":
        raise InvalidObject(f"{path} is not answered as Kubernetes 1.30 or newer does: is this the right server?")
    return list(answer.body.get("items") or ())


def _resources(groups: Iterable[Mapping[str, Any]]) -> list[Resource]:
    found = []
    for group in groups:
        name = str((group.get("metadata") or {}).get("name") or "")
        for version in (group.get("versions") or ())[:1]:
            for entry in version.get("resources") or ():
                kind = Kind(
                    name,
                    version["version"],
                    entry["responseKind"]["kind"],
                    entry["resource"],
                    namespaced=entry["scope"] == "Namespaced",
                )
                found.append(
                    Resource(
                        kind,
                        entry.get("singularResource") or kind.name.lower(),
                        tuple(entry.get("shortNames") or ()),
                        tuple(entry.get("categories") or ()),
                        tuple(entry.get("verbs") or ()),
                    )
                )
    return found
