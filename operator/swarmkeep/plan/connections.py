"""Whether established TCP connections go on: how a version is dumped for it, and how it is restored. Pure.

A connection goes on only from the very instant at which its peer has last seen it, and only at the same address. So
only a version that ended its process holds connections, and only the start right after that end brings them back.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarmkeep.model.policy import Tcp

Addresses = Mapping[str, tuple[str, ...]]
"""Addresses of a container by network."""


def tcp_of_dump(wanted: Tcp, *, final: bool, kept: Addresses) -> Tcp:
    """How a dump deals with connections. `kept` are the addresses that the container has whenever it runs."""
    if wanted is Tcp.ESTABLISHED and not (final and kept):
        return Tcp.CLOSE
    return wanted


def go_on(
    wanted: Tcp, version: int, held: Addresses, *, final_version: object, failed: Mapping[int, int], kept: Addresses
) -> bool:
    """Whether the connections that a version holds are to go on.

    `held` are the addresses that they had; `final_version` is what the end before it left, None for nothing; `failed`
    counts in vain restores by version: should connections be the reason, the next try does without.
    """
    return (
        wanted is Tcp.ESTABLISHED
        and bool(held)
        and held == kept
        and final_version == version
        and not failed.get(version)
    )
