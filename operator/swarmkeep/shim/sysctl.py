"""Gives a restored container the kernel parameters of its network: CRIU restores those of its IPC namespace alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swarmkeep.shim.settings import find_program

SYSCTL_LIMIT_S = 10.0

# Below /proc/sys/net everybody sees the parameters of his own network namespace, whatever proc is mounted.
_SET = 'while [ $# -gt 0 ]; do printf %s "$2" >"/proc/sys/$1" || exit 1; shift 2; done'


def network_parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a container's network in its bundle's configuration: path below /proc/sys, and value.

    Docker sets some for every container, such as net.ipv4.ip_unprivileged_port_start.
    """
    asked = (config.get("linux") or {}).get("sysctl") or {}
    # As runc reads names: https://github.com/opencontainers/runc, libcontainer/standard_init_linux.go.
    return {str(name).replace(".", "/"): str(value) for name, value in asked.items() if str(name).startswith("net.")}


def set_parameters_command(pid: int, parameters: Mapping[str, str]) -> list[str]:
    """The program that sets them in the network of a process. Raises FileNotFoundError without nsenter."""
    words = [find_program("nsenter"), f"--net=/proc/{pid}/ns/net", "--", "/bin/sh", "-c", _SET, "swarmkeep-sysctl"]
    for path, value in sorted(parameters.items()):
        words += [path, value]
    return words


def start_setting(pid: int, parameters: Mapping[str, str], output: str) -> int:
    """Starts that program with its messages in the file `output`; returns its process."""
    actions: list[Any] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    words = set_parameters_command(pid, parameters)
    return os.posix_spawn(words[0], words, os.environ, file_actions=actions)
