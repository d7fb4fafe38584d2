"""Addresses that a container keeps."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.agent.runtime.addresses import addresses_wire, kept_addresses, parse_addresses


def inspection(**networks: dict[str, Any]) -> dict[str, Any]:
    return {"NetworkSettings": {"Networks": networks}}


def fixed(address: str, has: str = "", **more: Any) -> dict[str, Any]:
    return {"IPAMConfig": {"IPv4Address": address}, "IPAddress": has or address, **more}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (inspection(back=fixed("10.0.0.5")), {"back": ("10.0.0.5",)}),
        # Before it starts, as Docker stores it.
        (inspection(back={"IPAMConfig": {"IPv4Address": "10.0.0.5"}, "IPAddress": ""}), {"back": ("10.0.0.5",)}),
        (inspection(a=fixed("10.0.0.5"), b=fixed("10.1.0.5")), {"a": ("10.0.0.5",), "b": ("10.1.0.5",)}),
        (inspection(a=fixed("10.0.0.5"), b={"IPAMConfig": None, "IPAddress": "10.1.0.9"}), {}),
        (inspection(back={"IPAMConfig": {}, "IPAddress": "10.0.0.5"}), {}),
        (inspection(back=fixed("10.0.0.5", GlobalIPv6Address="fd00::5")), {}),
        (
            inspection(back={"IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "fd00::5"}}),
            {"back": ("10.0.0.5", "fd00::5")},
        ),
        (inspection(), {}),
        ({"NetworkSettings": None}, {}),
        ({}, {}),
    ],
)
def test_only_an_address_that_was_asked_for_on_every_network_is_kept(
    raw: dict[str, Any], expected: dict[str, tuple[str, ...]]
) -> None:
    assert kept_addresses(raw) == expected
    assert parse_addresses(addresses_wire(expected)) == expected


@pytest.mark.parametrize("raw", [None, "x", ["10.0.0.5"], {"back": "10.0.0.5"}, {"back": None}])
def test_what_is_no_such_thing_in_a_version_is_none(raw: Any) -> None:
    assert parse_addresses(raw) == {}
