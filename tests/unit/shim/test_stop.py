"""`kill`: only the stop signal of a protected container becomes a final version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swarmkeep.shim.arguments import parse_call
from swarmkeep.shim.settings import Settings
from swarmkeep.shim.stop import delete, kill, signal_number

from .conftest import Agent

Protect = Callable[..., str]


@pytest.mark.parametrize(("word", "number"), [("15", 15), ("TERM", 15), ("SIGTERM", 15), ("term", 15), ("X", None)])
def test_reads_signals_as_docker_writes_them(word: str, number: int | None) -> None:
    assert signal_number(word) == number


def test_is_done_when_the_agent_has_ended_the_process(settings: Settings, agent: Agent, protect: Protect) -> None:
    protect()
    agent.script = lambda _: [{"wait": "the dump"}, {"do": "handled"}]
    assert kill(parse_call(["kill", "abc", "15"]), settings) == 0
    assert agent.heard == [{"op": "kill", "id": "abc", "signal": 15}]


def test_delivers_the_signal_when_the_agent_says_so(settings: Settings, agent: Agent, protect: Protect) -> None:
    protect()
    agent.script = lambda _: [{"do": "deliver"}]
    assert kill(parse_call(["kill", "abc", "15"]), settings) is None


def test_delivers_the_signal_when_the_agent_dies_over_it(settings: Settings, agent: Agent, protect: Protect) -> None:
    protect()
    agent.script = lambda _: [{"wait": "the dump"}]
    assert kill(parse_call(["kill", "abc", "15"]), settings) is None


def test_delivers_the_signal_at_once_without_an_agent(settings: Settings, protect: Protect) -> None:
    protect("Hold", 60)
    assert kill(parse_call(["kill", "abc", "15"]), settings) is None


@pytest.mark.parametrize("word", ["9", "HUP", "USR1", "3", "nonsense"])
def test_does_not_ask_about_any_other_signal(settings: Settings, agent: Agent, protect: Protect, word: str) -> None:
    protect()
    assert kill(parse_call(["kill", "abc", word]), settings) is None
    assert agent.heard == []


def test_takes_the_signal_that_the_image_names_for_the_stop_signal(
    settings: Settings, agent: Agent, protect: Protect
) -> None:
    protect(stop_signal="SIGQUIT")
    agent.script = lambda _: [{"do": "handled"}]
    assert kill(parse_call(["kill", "abc", "15"]), settings) is None
    assert kill(parse_call(["kill", "abc", "3"]), settings) == 0


@pytest.fixture
def work(settings: Settings) -> Path:
    """The work folder of a restored container."""
    work = Path(settings.run_dir) / "restore/abc"
    work.mkdir(parents=True)
    folder = Path(settings.container_dir("abc"))
    folder.mkdir(parents=True)
    (folder / "work").write_text(str(work))
    return work


def test_forgets_a_deleted_container(settings: Settings, work: Path) -> None:
    delete(parse_call(["delete", "--force", "abc"]), settings)
    assert not Path(settings.container_dir("abc")).exists()
    assert not work.exists()


def test_keeps_the_word_that_pages_were_lost(settings: Settings, work: Path) -> None:
    (work / "lazy-pages.failed").touch()
    delete(parse_call(["delete", "abc"]), settings)
    assert (work / "lazy-pages.failed").exists()


def test_removes_nothing_outside_its_own_folder(settings: Settings, work: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (Path(settings.container_dir("abc")) / "work").write_text(str(tmp_path / "other"))
    delete(parse_call(["delete", "abc"]), settings)
    assert (tmp_path / "other").is_dir()
