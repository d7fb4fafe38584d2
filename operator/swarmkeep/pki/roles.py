"""What each certificate is for. The API server's authentication reads the organization that is set here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from swarmkeep.errors import UserError

ORGANIZATION_PREFIX = "swarmkeep:"


class Role(StrEnum):
    """Who presents the certificate."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AGENT = "agent"
    """The common name is the node's name."""
    API_SERVER = "apiserver"
    ETCD_SERVER = "etcd-server"
    ETCD_CLIENT = "etcd-client"


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a role's certificate is signed by and good for."""

    authority: str
    """Base name of the CA's files."""
    serves: bool
    calls: bool


_PURPOSES = {
    Role.ADMIN: Purpose("ca", serves=False, calls=True),
    Role.OPERATOR: Purpose("ca", serves=False, calls=True),
    Role.AGENT: Purpose("ca", serves=False, calls=True),
    Role.API_SERVER: Purpose("ca", serves=True, calls=False),
    # Members of a cluster call each other with the certificate that they serve with.
    Role.ETCD_SERVER: Purpose("etcd-ca", serves=True, calls=True),
    Role.ETCD_CLIENT: Purpose("etcd-ca", serves=False, calls=True),
}


def role_of(text: str) -> Role:
    """The role of that name. Raises UserError listing the names."""
    try:
        return Role(text)
    except ValueError:
        raise UserError(f"there is no role {text!r}: choose one of {', '.join(Role)}") from None


def purpose_of(role: Role) -> Purpose:
    """What the role's certificate is signed by and good for."""
    return _PURPOSES[role]
