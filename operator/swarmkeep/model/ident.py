"""Names: which workload a Swarm task belongs to, and what its objects are called."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from swarmkeep.errors import InvalidObject

_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_VERSION_NAME = re.compile(r"(?P<workload>.+)-v(?P<number>[1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """A namespaced object's address."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Reads `namespace/name`; raises InvalidObject."""
        namespace, slash, name = text.partition("/")
        if not (slash and namespace and name) or "/" in name:
            raise InvalidObject(f"{text!r} is not of the form namespace/name")
        return cls(namespace, name)


def object_name(text: str) -> str:
    """`text` as a Kubernetes object name (RFC 1123 subdomain).

    Docker allows capitals and underscores: a name that has to be changed gets a hash of the original at its end, so
    that two services never share one object.
    """
    if _DNS_NAME.fullmatch(text) and len(text) <= 200:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
    readable = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:190]
    return f"{readable}-{digest}" if readable else f"x-{digest}"


def service_stem(service: str, stack: str | None, namespace: str) -> str:
    """The first part of the workload names of a service.

    In the namespace that is named after its stack, `shop_redis` is just `redis`.
    """
    if stack and stack == namespace and service.startswith(f"{stack}_"):
        return object_name(service[len(stack) + 1 :])
    return object_name(service)


def slot_workload_name(stem: str, slot: int) -> str:
    """The workload of slot `slot` (from 1) of a replicated service: `redis.1`."""
    return f"{stem}.{slot}"


def node_workload_name(stem: str, swarm_node_id: str) -> str:
    """The workload of one node's task of a global service. Swarm's node ids are lower-case letters and digits."""
    return f"{stem}.{object_name(swarm_node_id)}"


def container_workload_name(container: str) -> str:
    """The workload of a plain container: `web`. Docker's names have capitals and underscores as well."""
    return object_name(container)


def checkpoint_name(workload: str, number: int) -> str:
    """The name of the Checkpoint object of version `number`: `redis.1-v12`."""
    return f"{workload}-v{number}"


def parse_checkpoint_name(name: str) -> tuple[str, int] | None:
    """Workload and version number out of `redis.1-v12`; None for a name that a user chose."""
    match = _VERSION_NAME.fullmatch(name)
    return (match["workload"], int(match["number"])) if match else None
