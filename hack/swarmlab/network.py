"""The lab's network: one bridge, and a cable for each node."""

from __future__ import annotations

from pathlib import Path

from swarmlab.process import run
from swarmlab.settings import Settings, index_of


def ensure_bridge(settings: Settings) -> None:
    """Makes the bridge; the machine itself has its last address, so that it reaches the nodes."""
    if not Path("/sys/class/net", settings.bridge).exists():
        run(["ip", "link", "add", settings.bridge, "type", "bridge"])
        run(["ip", "addr", "add", f"{settings.gateway}/24", "dev", settings.bridge])
        # Where bridged packets pass the machine's firewall, the nodes' must not be judged by it.
        Path(f"/sys/class/net/{settings.bridge}/bridge/nf_call_iptables").write_text("0")
    run(["ip", "link", "set", settings.bridge, "up"])


def plug_in(settings: Settings, node: str, pid: int) -> None:
    """Gives a node, whose first process is `pid`, its network card."""
    unplug(settings, node)
    link = settings.link(node)
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    run(["ip", "link", "set", link, "master", settings.bridge, "up"])
    inside = ["nsenter", "-t", str(pid), "-n", "ip"]
    run([*inside, "link", "set", "eth0", "up"])
    run([*inside, "addr", "add", f"{settings.network}.{index_of(node)}/24", "dev", "eth0"])
    run([*inside, "route", "add", "default", "via", settings.gateway])


def unplug(settings: Settings, node: str) -> None:
    """Takes the card away for good."""
    run(["ip", "link", "del", settings.link(node)], check=False)


def set_link(settings: Settings, node: str, *, up: bool) -> None:
    """Cuts or mends the cable of a node that lives on."""
    run(["ip", "link", "set", settings.link(node), "up" if up else "down"])


def link_is_up(settings: Settings, node: str) -> bool:
    """Whether the cable is plugged in and whole."""
    flags = Path(f"/sys/class/net/{settings.link(node)}/flags")
    return flags.exists() and bool(int(flags.read_text(), 16) & 1)


def remove_bridge(settings: Settings) -> None:
    """Removes the bridge."""
    if Path("/sys/class/net", settings.bridge).exists():
        run(["ip", "link", "del", settings.bridge])
