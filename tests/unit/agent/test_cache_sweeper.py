"""What was deleted elsewhere leaves the cache, and nothing does while a location is silent."""

from pathlib import Path

from swarmkeep.agent.cache_sweeper import CacheSweeper
from swarmkeep.agent.image_cache import ImageCache

from ..objects import NOW
from .places import WL, Places


async def test_versions_that_no_location_has_go(tmp_path: Path) -> None:
    places = Places(tmp_path)
    cache = ImageCache(tmp_path / "images", "boot", 1 << 30)
    places.put("far", 2)
    cache.path(WL, 2).mkdir(parents=True)
    cache.mark(WL, 2, NOW)
    sweeper = CacheSweeper(cache, places.locations)
    await sweeper.sweep()
    assert cache.newest(WL) == 2
    places.repository("far").delete(str(WL), 2)
    places.vanish("main")
    await sweeper.sweep()
    assert cache.newest(WL) == 2
    places.come_back("main")
    await sweeper.sweep()
    assert cache.images() == []
