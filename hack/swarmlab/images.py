"""Images that tests use: root file systems of Debian packages, in the lab's registry, named by digest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from swarmlab.node import Node
from swarmlab.process import LabError, run, say
from swarmlab.rootfs import image_root

IMAGES = {
    "redis": (("redis-server", "redis-tools"), ["CMD redis-server --save '' --protected-mode no --bind 0.0.0.0"]),
    "python": (("python3",), ["ENV PYTHONUNBUFFERED=1"]),
    "shell": ((), ["CMD sh"]),
    "postgres": (
        ("postgresql",),
        [
            "USER postgres",
            "ENV PGHOST=/tmp",
            "CMD echo 'local all all trust' > /tmp/hba; echo 'host all all all trust' >> /tmp/hba; "
            "exec /usr/lib/postgresql/*/bin/postgres -D /etc/postgresql/*/main -c hba_file=/tmp/hba "
            "-c unix_socket_directories=/tmp -c listen_addresses='*'",
        ],
    ),
    "node": (("nodejs",), []),
    "nginx": (("nginx",), ["CMD exec nginx -g 'daemon off;'"]),
}
"""Name: packages, and changes to the image's configuration."""
STANDARD = ("redis", "python", "shell")
"""What every lab has; the others are built when something wants them."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def known_images(storage: Path) -> dict[str, str]:
    """Full names, with digest, of what is in the registry."""
    try:
        names: dict[str, str] = json.loads((storage / "images.json").read_text())
    except FileNotFoundError:
        return {}
    return names


def load_images(node: Node, storage: Path, wanted: Iterable[str]) -> dict[str, str]:
    """Puts images into the registry unless they are there; `node` does the work. Returns the full names of these."""
    wanted = tuple(wanted)
    for name in wanted:
        packages, changes = IMAGES[name]
        archive = image_root(name, packages)
        stamp = storage / f"{name}.from"
        recipe = f"{archive.name} {changes}"
        if name in known_images(storage) and stamp.exists() and stamp.read_text() == recipe:
            continue
        say(f"loading image {name} into the registry")
        load_image(node, storage, f"{name}:lab", archive, changes)
        stamp.write_text(recipe)
    known = known_images(storage)
    return {name: known[name] for name in wanted}


def load_image(node: Node, storage: Path, tag: str, archive: Path, changes: list[str]) -> str:
    """Makes a root file system (a tar archive) an image in the registry; returns its full name with digest."""
    name, _, version = tag.partition(":")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", version or "latest"):
        raise LabError(f"{tag!r} cannot be an image's name: use NAME:TAG, in lower case")
    full = f"{node.settings.registry}/{name}:{version or 'latest'}"
    words = [word for change in changes for word in ("--change", change)]
    with open(archive, "rb") as file:
        run([*node.entering(), "docker", "import", *words, "-", full], limit_s=300, stdin=file)
    pushed = node.execute(["docker", "push", "--quiet", full], limit_s=300)
    shown = node.execute(["docker", "image", "inspect", "--format", "{{json .RepoDigests}}", full])
    digest = _DIGEST.search(shown.stdout) or _DIGEST.search(pushed.stdout)
    if digest is None:
        raise LabError(f"the registry did not tell the digest of {full}:\n{pushed.stdout}{shown.stdout}")
    pinned = f"{node.settings.registry}/{name}@{digest[0]}"
    names = known_images(storage) | {name: pinned}
    (storage / "images.json").write_text(json.dumps(names, indent=2, sort_keys=True) + "\n")
    return pinned


def pull(node: Node, names: Iterable[str]) -> None:
    """Brings images to a node, so that a task that moves there need not wait for them."""
    for name in names:
        if node.execute(["docker", "image", "inspect", name], check=False).returncode != 0:
            node.execute(["docker", "pull", "--quiet", name], limit_s=300)
