"""How much of a storage location is dead, and what it costs to keep it down: the rewriting of mostly dead packs.

PYTHONPATH=operator python hack/benchmarks/dead_pages.py [SHARE ...]

For each SHARE (of its pages that a version has to use of a pack; 0.125 is what the store does, 0 is never to rewrite)
and each story: the pages in storage for each page in use, and the pages written for each page that changed.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from swarmkeep.store import prune
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.repository import Repository

W = "default/redis.1"
PAGES, VERSIONS = 10_000, 60


class Image:
    """A memory image that changes. Pages compress to about a quarter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed = 0
        folder.mkdir()
        self._dice = random.Random(1)  # noqa: S311 - the same story each time
        self.pages = PAGES
        with (folder / "pages-1.img").open("wb") as file:
            for _ in range(PAGES):
                file.write(self._page())

    def change(self, share: float, within: float = 1.0) -> None:
        """Overwrites a share of the pages by chance, all in the first `within` of them."""
        numbers = self._dice.choices(range(int(self.pages * within)), k=int(self.pages * share))
        self.changed += len(set(numbers))
        with (self.folder / "pages-1.img").open("r+b") as file:
            for number in set(numbers):
                file.seek(number * 4096)
                file.write(self._page())

    def shrink(self, pages: int) -> None:
        """Keeps so many pages, taken from everywhere."""
        content = (self.folder / "pages-1.img").read_bytes()
        kept = sorted(self._dice.sample(range(self.pages), pages))
        self.pages = pages
        (self.folder / "pages-1.img").write_bytes(b"".join(content[page * 4096 : page * 4096 + 4096] for page in kept))

    def _page(self) -> bytes:
        return self._dice.randbytes(1024) + bytes(3072)


@dataclass(frozen=True, slots=True)
class Story:
    """What happens to an image."""

    name: str
    kept: int = 1
    """Versions that are kept."""
    share: float = 0.05
    """Of the pages, so many change from one version to the next,"""
    within: float = 1.0
    """all within this share of them."""
    left: int = PAGES
    """Pages that the last version has."""
    pinned: int | None = None
    """A version that is never deleted."""


STORIES = (
    Story("5 % anywhere, keepLast 1"),
    Story("5 % anywhere, keepLast 5", kept=5),
    Story("5 % in a hot tenth, keepLast 5", kept=5, within=0.1),
    Story("0.1 % anywhere, keepLast 5", kept=5, share=0.001),
    Story("shrinks to 2 %, then idle, keepLast 1", left=PAGES // 50),
    Story("5 % anywhere, keepLast 1, an old one pinned", pinned=VERSIONS // 2),
)


def tell(story: Story) -> tuple[float, float, float]:
    """Pages in storage for each in use, pages written for each changed, seconds of the slowest put."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Image(Path(scratch, "image"))
        repository = Repository.open(MemoryBlobStore(), create=True)
        written, slowest = 0, 0.0
        for version in range(1, VERSIONS + 1):
            if version == VERSIONS and story.left < PAGES:
                image.shrink(story.left)
            elif version > 1:
                image.change(story.share, story.within)
            begun = time.perf_counter()
            manifest = repository.put(W, version, image.folder, {})
            if version > 1:
                slowest = max(slowest, time.perf_counter() - begun)
                written += sum(pack.pages for pack in manifest.packs if pack.name.startswith(manifest.attempt))
            if version > story.kept and version - story.kept != story.pinned:
                repository.delete(W, version - story.kept)
        sizes: dict[str, int] = {}
        in_use: set[tuple[str, int]] = set()
        for version in repository.versions(W):
            manifest = repository.manifest(W, version)
            names = [pack.name for pack in manifest.packs]
            sizes |= {pack.name: pack.pages for pack in manifest.packs}
            refs = manifest.table.expand(0, manifest.table.pages).tolist()
            in_use |= {(names[(ref >> 32) - 1], ref & 0xFFFFFFFF) for ref in refs if ref}
        return sum(sizes.values()) / len(in_use), written / image.changed, slowest


def main() -> None:
    shares = [float(word) for word in sys.argv[1:]] or [prune.MIN_LIVE_SHARE]
    print(f"{PAGES} pages, {VERSIONS} versions")
    for share in shares:
        prune.MIN_LIVE_SHARE = share
        print(f"\na version uses at least {share:g} of a pack\n{'':45}stored/used  written/changed  slowest put")
        for story in STORIES:
            stored, written, slowest = tell(story)
            print(f"{story.name:45}{stored:11.2f}  {written:15.2f}  {slowest:9.2f} s")


main()
