"""The order to create a container that is like another one, read from that one's inspection. Pure.

The inspection lies in every version's manifest, with all that the user gave: environment and its secrets included. It
is stored, and encrypted, like the memory itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from swarmkeep.errors import CorruptData
from swarmkeep.model.traits import Mount

_BUILT_IN_MODES = frozenset({"", "default", "bridge", "host", "none"})
_ENDPOINT_FIELDS = ("IPAMConfig", "Links", "DriverOpts")
"""What a user gives of an endpoint, beside its aliases; the rest of an inspection is what Docker made of it."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What POST /containers/create gets, and what has to follow before the start."""

    name: str
    image: str
    """The image as the user named it."""
    image_id: str
    """The image that it has to be."""
    body: Mapping[str, Any]
    further_networks: Mapping[str, Mapping[str, Any]]
    """Networks beside the first, with the arguments for connecting to each."""
    binds: tuple[Mount, ...] = ()
    """Folders and files of the node that are mounted into it."""

    def with_image(self, reference: str) -> Creation:
        """The same out of an image under another name."""
        return replace(self, body={**self.body, "Image": reference})


def read_creation(raw: Mapping[str, Any], name: str | None = None) -> Creation:
    """The order for a container like the one that `raw` is the inspection of, or under another name.

    Raises CorruptData for what is no inspection.
    """
    try:
        return _read(raw, name or str(raw["Name"]).lstrip("/"))
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptData(f"the container's configuration in the version is not understood: {error!r}") from error


def _read(raw: Mapping[str, Any], name: str) -> Creation:
    config, host = dict(raw["Config"]), dict(raw["HostConfig"])
    own_id = str(raw["Id"])[:12]
    if config.get("Hostname") == own_id:
        # Docker made it out of the id: the new container gets its own.
        del config["Hostname"]
    mac_address = config.pop("MacAddress", None)
    host.pop("ContainerIDFile", None)
    # Docker notes the default of the time. One from before the shim was that would be started past it, from nothing.
    host.pop("Runtime", None)
    networks = dict((raw.get("NetworkSettings") or {}).get("Networks") or {})
    mode = str(host.get("NetworkMode") or "")
    by_id = {str(value.get("NetworkID")): key for key, value in networks.items() if value.get("NetworkID")}
    first = by_id.get(mode, mode)
    if first not in _BUILT_IN_MODES and not first.startswith("container:"):
        host["NetworkMode"] = first
    endpoints = {key: _endpoint(value or {}, own_id) for key, value in networks.items() if key not in _BUILT_IN_MODES}
    body = {**config, "HostConfig": host}
    if first in endpoints:
        endpoint = endpoints.pop(first)
        if mac_address:
            endpoint["MacAddress"] = mac_address
        body["NetworkingConfig"] = {"EndpointsConfig": {first: endpoint}}
    return Creation(
        name=name,
        image=str(config["Image"]),
        image_id=str(raw["Image"]),
        body=body,
        further_networks={key: _connection(endpoint) for key, endpoint in sorted(endpoints.items())},
        binds=tuple(
            Mount("bind", str(mount["Source"]), str(mount["Destination"]), not mount.get("RW", True))
            for mount in raw.get("Mounts") or ()
            if mount["Type"] == "bind"
        ),
    )


def _endpoint(raw: Mapping[str, Any], own_id: str) -> dict[str, Any]:
    found = {field: raw[field] for field in _ENDPOINT_FIELDS if raw.get(field)}
    # Docker adds the id as an alias of its own.
    aliases = [alias for alias in raw.get("Aliases") or () if alias != own_id]
    return found | ({"Aliases": aliases} if aliases else {})


def _connection(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """An endpoint as the arguments of connecting to a network."""
    addresses = endpoint.get("IPAMConfig") or {}
    found = {
        "ipv4_address": addresses.get("IPv4Address"),
        "ipv6_address": addresses.get("IPv6Address"),
        "link_local_ips": addresses.get("LinkLocalIPs"),
        "aliases": endpoint.get("Aliases"),
        "links": [tuple(link.split(":", 1)) for link in endpoint.get("Links") or ()],
        "driver_opt": endpoint.get("DriverOpts"),
    }
    return {name: value for name, value in found.items() if value}
