"""Which mounts of a container a policy takes along in its versions. Pure; used by the agent and by the doctor."""

from __future__ import annotations

from collections.abc import Collection

from swarmkeep.model.traits import Mount

EVERY_VOLUME = "*"


def is_covered(mount: Mount, wishes: Collection[str]) -> bool:
    """Whether `checkpoint.volumes` names this mount: a volume by its name, a folder of the node by its path.

    `*` stands for every named volume that the container may write to. A volume without a name ends with its container.
    """
    if not mount.source:
        return False
    if mount.source in wishes:
        return mount.type in ("volume", "bind")
    return mount.type == "volume" and EVERY_VOLUME in wishes and not mount.read_only
