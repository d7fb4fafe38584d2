"""Notes of the shim reach the agent, and none is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from swarmkeep.agent.runtime.cold_starts import ColdStart, ColdStarts

NOTE = '{"id":"abc","at":1795424259.5,"reason":"AgentAway","message":"no agent"}\n'
EXPECTED = ColdStart("abc", datetime.fromtimestamp(1795424259.5, UTC), "AgentAway", "no agent")


def test_reads_nothing_where_nothing_is(tmp_path: Path) -> None:
    assert ColdStarts(tmp_path / "cold-starts").read() == []


def test_reads_notes_until_they_are_done_with(tmp_path: Path) -> None:
    path = tmp_path / "cold-starts"
    path.write_text(NOTE)
    assert ColdStarts(path).read() == [EXPECTED]
    # The agent died before it had reported them.
    again = ColdStarts(path)
    assert again.read() == [EXPECTED]
    again.done()
    assert again.read() == []


def test_loses_no_note_that_comes_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "cold-starts"
    path.write_text(NOTE)
    notes = ColdStarts(path)
    with path.open("a") as shim:
        notes.read()
        shim.write(NOTE)
    path.write_text(NOTE)
    notes.done()
    assert notes.read() == [EXPECTED, EXPECTED]
    notes.done()
    assert notes.read() == [EXPECTED]


def test_reads_on_behind_a_damaged_note(tmp_path: Path) -> None:
    path = tmp_path / "cold-starts"
    path.write_text(f'{{"id":\n{{"id":"x","at":"soon"}}\n{NOTE}')
    assert ColdStarts(path).read() == [EXPECTED]
