"""Lends a container its addresses before Docker gives it its network, so that connections can be put back.

Docker sets the network up when `create` is over, but the kernel lets no established connection be made without a local
address and a way to its peer. So a hook puts both on the loopback device of the new namespace, and they are taken away
as soon as the process is there: its connections wait until Docker has given it the same addresses.
"""

from __future__ import annotations

import os
import select
import signal
from typing import Any

from swarmkeep.shim.settings import SEARCH_PATH

METRIC = 4278198272
"""Of the routes that are lent: no other one is as far."""
_LIMIT_S = 10.0

# Standard input is the container's state, as the OCI runtime specification has it for hooks.
_LEND = f"""
pid=$(grep -o '"pid":[ ]*[0-9]*' | head -n 1 | tr -dc 0-9)
for address in "$@"; do
  case $address in *:*) family=-6 ;; *) family=-4 ;; esac
  nsenter -t "$pid" -n sh -ec '
    ip link set lo up
    ip "$1" address add "$2" dev lo
    ip "$1" route replace default dev lo metric {METRIC}
  ' sh "$family" "$address" || exit 1
done
"""
_TAKE_BACK = f"""
pid=$1
shift
for address in "$@"; do
  case $address in *:*) family=-6; bits=128 ;; *) family=-4; bits=32 ;; esac
  nsenter -t "$pid" -n ip "$family" route del default dev lo metric {METRIC}
  nsenter -t "$pid" -n ip "$family" address del "$address/$bits" dev lo
done
"""


def lend(config: dict[str, Any], addresses: list[str]) -> None:
    """Adds the hook to a bundle's configuration."""
    words = ["sh", "-c", _LEND, "swarmkeep-addresses", *addresses]
    hook = {"path": "/bin/sh", "args": words, "env": [f"PATH={SEARCH_PATH}"]}
    hooks = dict(config.get("hooks") or {})
    config["hooks"] = hooks | {"createRuntime": [*(hooks.get("createRuntime") or ()), hook]}


def take_back(pid_file: str, addresses: list[str]) -> None:
    """Takes away what was lent to the process whose number is in the file. Never raises.

    What stays is in nobody's way: Docker's own routes are all nearer.
    """
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = str(int(file.read()))
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        words = ["sh", "-c", _TAKE_BACK, "swarmkeep-addresses", pid, *addresses]
        child = os.posix_spawn("/bin/sh", words, {"PATH": SEARCH_PATH}, file_actions=quiet)
        handle = os.pidfd_open(child)
        try:
            ready, _, _ = select.select([handle], [], [], _LIMIT_S)
            if not ready:
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        finally:
            os.close(handle)
    except (OSError, ValueError):
        return
