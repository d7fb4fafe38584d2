"""One request for objects, taken apart: who, which kind, which object, with which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from swarmkeep.apiserver.authn import User
from swarmkeep.apiserver.authz import Access
from swarmkeep.apiserver.guards import Demands
from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.status_errors import bad_request

FieldValidation = Literal["Strict", "Warn", "Ignore"]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that names a served kind."""

    user: User
    verb: str
    """As Kubernetes names it: get, list, watch, create, update, patch, delete, deletecollection."""
    resource: Resource
    namespace: str
    """Empty for kinds without one, and for a list over all."""
    name: str
    subresource: str
    query: Mapping[str, str]
    demands: Demands

    @property
    def access(self) -> Access:
        """What authorization is asked."""
        resource = self.resource
        return Access(self.verb, resource.group, resource.plural, self.namespace, self.name, self.subresource)

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored. Raises StatusError for a value that is not known."""
        value = self.query.get("dryRun", "")
        if value not in ("", "All"):
            raise bad_request(f'Invalid value: "{value}": dryRun must be All')
        return value == "All"

    @property
    def field_validation(self) -> FieldValidation:
        """What to do about unknown fields."""
        match self.query.get("fieldValidation", ""):
            case "Strict":
                return "Strict"
            case "" | "Warn":
                return "Warn"
            case "Ignore":
                return "Ignore"
            case other:
                raise bad_request(f'Invalid value: "{other}": fieldValidation must be Ignore, Warn or Strict')


def flag(query: Mapping[str, str], name: str) -> bool:
    """A query parameter as kubectl and its libraries send it: true, 1, or only the name."""
    return name in query and query[name].lower() in ("", "true", "1", "t")


def integer(query: Mapping[str, str], name: str) -> int:
    """A query parameter that counts; 0 if it is not there. Raises StatusError for anything else."""
    text = query.get(name, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad_request(f'Invalid value: "{text}": {name} must be a number')
    return int(text)


def utc_now() -> datetime:
    """The time for timestamps."""
    return datetime.now(UTC)
