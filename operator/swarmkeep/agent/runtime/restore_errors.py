"""Why a restore failed, in words that a user understands, from what CRIU and runc wrote. Pure on text.

Sources of the patterns: CRIU's messages in criu/*.c, each tried or read in versions 4.1 and 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# The mounts of a trial are not those of the real one: what fails over them says nothing of the version.
_OF_ISOLATION = r"No mapping for \S+ mountpoint|mnt: "

# The first that matches names the cause; so what is specific stands before what follows from it.
_CAUSES: Sequence[tuple[str, str]] = (
    (
        _OF_ISOLATION,
        "something is mounted into it that a trial cannot have, as secrets and configs of the Swarm",
    ),
    (
        r"No space left on device",
        "there is no space on this node where its files or its memory have to go",
    ),
    (
        r"Cannot allocate memory|Out of memory|oom",
        "there is too little memory for it: look at its limit and at the node",
    ),
    (
        r"(File|file) .*(has bad|bad size|bad mode|bad build-id|bad checksum)|size mismatch",
        "a file that it had open or mapped is another one now: its image or a mounted folder has changed since",
    ),
    (
        r"Can't open file|Can't open .* on restore|No such file or directory",
        "a file that it had open or mapped is not there: it lay in a volume or a mounted folder, or on another node",
    ),
    (
        r"[Cc][Pp][Uu].*(capabilit|feature|mismatch|incompatible)",
        "this node's processor lacks something that the one it was taken on has: restore it on the same kind of node",
    ),
    (
        r"[Ii]ma?ge?.*(magic|corrupt|truncat|EOF)|Can't (read|parse).*(image|img|pagemap|core)",
        "CRIU cannot make sense of the image: it was dumped by another version of CRIU, or is not what was dumped",
    ),
    (
        r"Pid \d+ do not match|Can't fork for|[Pp]id.*(busy|taken|exists)",
        "a process number that it needs is taken",
    ),
    (
        r"Can't bind|bind.*Address already in use|Cannot assign requested address",
        "an address that it listens on is not there or is taken: let it listen on all addresses (0.0.0.0)",
    ),
    (
        r"LSM|apparmor|selinux|seccomp",
        "this node's security profiles are not those that it ran under",
    ),
)


def explain_restore(text: str) -> str:
    """One sentence on the cause, then what runc and CRIU said."""
    for pattern, sentence in _CAUSES:
        if re.search(pattern, text):
            return f"{sentence}. {text}"
    return f"it could not be restored, for a reason that SwarmKeep does not know. {text}"


def is_of_isolation(text: str) -> bool:
    """Whether it failed for what only a trial lacks."""
    return re.search(_OF_ISOLATION, text) is not None
