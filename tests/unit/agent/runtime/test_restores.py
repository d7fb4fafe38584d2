"""What the shim's work folders say about lazy restores."""

from __future__ import annotations

import os
from pathlib import Path

from swarmkeep.agent.runtime.restores import Restores


def test_a_container_is_read_while_its_server_lives(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    pid = tmp_path / "abc" / "lazy-pages.pid"
    restores = Restores(tmp_path)
    assert not restores.still_reading("abc")
    pid.write_text(f"{os.getpid()}\n")
    assert restores.still_reading("abc")
    pid.write_text("999999999\n")
    assert not restores.still_reading("abc")
    pid.write_text("")
    assert not restores.still_reading("abc")


def test_a_container_that_lost_its_pages_is_known(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    restores = Restores(tmp_path)
    assert not restores.lost_pages("abc")
    (tmp_path / "abc" / "lazy-pages.failed").write_text("137\n")
    assert restores.lost_pages("abc")
