"""StorageLocations in folders, with versions in them, for tests of whatever works on several."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarmkeep.agent.locations import Locations
from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import format_time
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

WL = Ref("default", "redis.1")


class Places:
    """Locations `main` and `far`, or as many as named, each a folder that can vanish and come back."""

    def __init__(self, root: Path, *names: str) -> None:
        self.root = root
        self.names = names or ("main", "far")
        self.locations = Locations()
        for name in self.names:
            (root / name).mkdir()
            Repository.open(LocalBlobStore(root / name), create=True)
        self.publish()

    def publish(self) -> None:
        """Tells the agent of the locations as they are now."""
        self.locations.update({name: self._object(name) for name in self.names})

    def repository(self, name: str) -> Repository:
        """For looking behind everybody's back."""
        return Repository.open(LocalBlobStore(self.root / name), create=False)

    def put(self, name: str, number: int, content: bytes = b"", reason: str = "Schedule", **facts: Any) -> None:
        """Stores a version with an image and a layer."""
        folder = self.root / "source"
        (folder / "image").mkdir(parents=True, exist_ok=True)
        (folder / "layer").mkdir(exist_ok=True)
        (folder / "image/pages-1.img").write_bytes(content or number.to_bytes(4) * 1024)
        (folder / "layer/file").write_text(f"version {number}")
        said = {
            "takenAt": format_time(datetime.now(UTC)),
            "reason": reason,
            "specHash": "hash",
            "serviceID": "svc1",
            **facts,
        }
        self.repository(name).put(str(WL), number, folder, said)

    def numbers(self, name: str) -> list[int]:
        """The versions that a location has."""
        return self.repository(name).versions(str(WL))

    def vanish(self, name: str) -> None:
        """What an unmounted share looks like."""
        (self.root / name).rename(self.root / f"{name}.away")
        (self.root / name).mkdir()

    def come_back(self, name: str) -> None:
        """It is mounted again."""
        (self.root / name).rmdir()
        (self.root / f"{name}.away").rename(self.root / name)

    def _object(self, name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "spec": {"filesystem": {"path": str(self.root / name)}},
            "status": {"id": self.repository(name).location_id},
        }
