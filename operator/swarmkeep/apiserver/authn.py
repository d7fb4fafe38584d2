"""Who calls: read from the client certificate that TLS has already checked against our CA.

Called once for each request. There is no other way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ORGANIZATION_PREFIX = "swarmkeep:"


class Role(StrEnum):
    """What a certificate's organization allows, in words; authz.py says what each means."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AGENT = "agent"
    NONE = ""
    """A certificate of our CA that is not for the API: it may ask what is served, and who it is."""


@dataclass(frozen=True, slots=True)
class User:
    """The caller."""

    name: str
    """The certificate's common name; an agent's is its node's name."""
    role: Role

    @property
    def groups(self) -> tuple[str, ...]:
        """As reviews and messages name them."""
        return (*((f"{ORGANIZATION_PREFIX}{self.role}",) if self.role else ()), "system:authenticated")


def user_of(certificate: Mapping[str, Any] | None) -> User:
    """The user that a certificate, as ssl.SSLSocket.getpeercert() gives it, stands for."""
    names = dict(_pairs((certificate or {}).get("subject", ())))
    organization = names.get("organizationName", "")
    role = organization.removeprefix(ORGANIZATION_PREFIX) if organization.startswith(ORGANIZATION_PREFIX) else ""
    known = Role(role) if role in set(Role) else Role.NONE
    name = names.get("commonName", "")
    # Without a name an agent's would be compared with empty fields.
    return User(name, known) if name else User("system:unknown", Role.NONE)


def _pairs(subject: Iterable[Iterable[tuple[str, str]]]) -> Iterable[tuple[str, str]]:
    for relative_name in subject:
        yield from relative_name
