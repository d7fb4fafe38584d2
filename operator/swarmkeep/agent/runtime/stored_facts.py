"""A container read from Docker's own files instead of its API.

While Docker starts a container it answers no question about it, and the runtime's `create` is part of that start. So
when the shim asks, the API would block until the shim has its answer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from swarmkeep.agent.runtime.facts import ContainerFacts, read_facts
from swarmkeep.errors import NotFound, Unavailable

MOUNT_FIELDS = ("Type", "Name", "Source", "Destination", "Driver", "RW")


def read_stored_facts(docker_root: Path, container_id: str) -> ContainerFacts:
    """The container as Docker has it on disk; its writable layer is not told there.

    Raises NotFound, and Unavailable when the files are not what Docker 20 to 28 write. Source: moby,
    daemon/container/container.go, the structure that is stored as config.v2.json.
    """
    folder = docker_root / "containers" / container_id
    if not container_id.isalnum():
        raise NotFound(f"{container_id!r} is no container's id")
    try:
        stored: dict[str, Any] = json.loads((folder / "config.v2.json").read_bytes())
        host: dict[str, Any] = json.loads((folder / "hostconfig.json").read_bytes())
        mounts = [
            {field: mount[field] for field in MOUNT_FIELDS if field in mount}
            for mount in (stored.get("MountPoints") or {}).values()
        ]
        raw = {
            "Id": stored["ID"],
            "Name": stored["Name"],
            "Created": stored["Created"],
            "Image": stored["Image"],
            "Config": stored["Config"],
            # It is on its way up: what Docker remembers as running, or between two tries, has ended.
            "State": stored["State"] | {"Running": False},
            "HostConfig": host,
            "Mounts": mounts,
            "NetworkSettings": stored.get("NetworkSettings"),
            **read_swarm_files(docker_root, container_id),
        }
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no container {container_id[:12]} in {docker_root}; is agent.dockerRoot right?"
        ) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Unavailable(f"Docker's files of container {container_id[:12]} are not understood: {error!r}") from error
    return read_facts(raw)


def read_swarm_files(docker_root: Path, container_id: str) -> dict[str, Any]:
    """`SwarmFiles`: ids of the secrets and configs that a container has, for an inspection, which does not tell them.

    Docker lays their content out under these names before it calls the runtime, and writes its own record of them only
    when the container runs. Source: moby, daemon/container_operations_unix.go, setupSecretDir.
    """
    try:
        names = os.listdir(docker_root / "containers" / container_id / "mounts" / "secrets")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unavailable(f"the secrets of container {container_id[:12]} cannot be listed: {error}") from error
    return {"SwarmFiles": sorted(names)} if names else {}
