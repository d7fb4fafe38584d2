"""Where the shim finds things: /etc/swarmkeep/shim.conf, lines of KEY=VALUE. Read by every part of the shim."""

from __future__ import annotations

import os
from typing import NamedTuple

CONF = "/etc/swarmkeep/shim.conf"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Settings(NamedTuple):
    """All keys of shim.conf; the front script `swarmkeep-runtime` reads the folders, `runc` and `python`."""

    runc: str = ""
    """The real runtime; empty means the first runc in the usual folders."""
    criu: str = ""
    """CRIU; empty means the first criu in the usual folders. runc itself takes the one in its PATH."""
    docker_root: str = "/var/lib/docker"
    """Docker's data root: the shim reads containers' labels from its own files there."""
    state_dir: str = "/var/lib/swarmkeep/shim"
    """Holds `selectors`, written by the agent, and `cold-starts`, written by the shim."""
    run_dir: str = "/run/swarmkeep"
    """Holds the agent's `shim.sock`, and shim/<container> for what the shim knows of a container."""
    criu_conf: str = "/etc/criu/runc.conf"
    """The node's own CRIU options for runc: kept when the shim adds its own."""

    def program(self, name: str) -> str:
        """`runc` or `criu`: looked up only by what needs it. Raises FileNotFoundError."""
        configured: str = getattr(self, name)
        return configured or find_program(name)

    @property
    def selectors(self) -> str:
        return os.path.join(self.state_dir, "selectors")

    @property
    def cold_starts(self) -> str:
        return os.path.join(self.state_dir, "cold-starts")

    @property
    def socket(self) -> str:
        return os.path.join(self.run_dir, "shim.sock")

    def container_dir(self, container_id: str) -> str:
        """Folder of what the shim knows of a container; gone after a reboot, removed at `delete`."""
        return os.path.join(self.run_dir, "shim", container_id)


def load_settings(path: str = CONF) -> Settings:
    """Reads shim.conf; unknown keys are ignored, so that a newer file works.

    A file that is missing or cannot be read means the defaults, as it does for the front script.
    """
    values = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, separator, value = line.strip().partition("=")
                if separator and key in Settings._fields and value:
                    values[key] = value
    except OSError:
        pass
    return Settings(**values)


def find_program(name: str) -> str:
    """The first program of that name in the usual folders. Raises FileNotFoundError."""
    for folder in SEARCH_PATH.split(":"):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(f"no {name} in {SEARCH_PATH}; say where it is in {CONF}: {name}=/path/to/{name}")
