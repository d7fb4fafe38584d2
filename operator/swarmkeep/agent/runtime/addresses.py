"""The addresses that a container has by its own wish and so keeps: only with them its connections can go on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmkeep.plan.connections import Addresses


def kept_addresses(raw: Mapping[str, Any]) -> Addresses:
    """The fixed addresses in Docker's inspection of a container; empty unless it has one on each of its networks.

    `docker run --ip` and Compose's `ipv4_address` fix one. An address that Docker has chosen may be another's after a
    restart.
    """
    networks: Mapping[str, Any] = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    kept: dict[str, tuple[str, ...]] = {}
    for name, endpoint in networks.items():
        wished = endpoint.get("IPAMConfig") or {}
        fixed = tuple(sorted(filter(None, (wished.get("IPv4Address"), wished.get("IPv6Address")))))
        has = {endpoint.get("IPAddress"), endpoint.get("GlobalIPv6Address")} - {None, ""}
        if not fixed or not has <= set(fixed):
            return {}
        kept[str(name)] = fixed
    return kept


def addresses_wire(addresses: Addresses) -> dict[str, list[str]]:
    """As the facts of a version have them."""
    return {network: list(fixed) for network, fixed in sorted(addresses.items())}


def parse_addresses(raw: Any) -> Addresses:
    """Reads them back; what is no such thing is none, and the connections are closed."""
    if not isinstance(raw, Mapping) or not all(isinstance(fixed, list) for fixed in raw.values()):
        return {}
    return {str(network): tuple(map(str, fixed)) for network, fixed in raw.items()}
