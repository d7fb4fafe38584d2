"""The OCI bundle of a container that the runtime is about to create."""

from __future__ import annotations

import json
from pathlib import Path


def bundle_rootfs(bundle: Path) -> Path:
    """The container's root file system as its bundle names it. Raises OSError, ValueError, KeyError."""
    root = Path(json.loads((bundle / "config.json").read_bytes())["root"]["path"])
    return root if root.is_absolute() else bundle / root
