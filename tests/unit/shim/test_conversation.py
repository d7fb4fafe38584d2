"""Talking to the agent: lines in pieces, lines without end, and silence."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from swarmkeep.shim import conversation
from swarmkeep.shim.conversation import AgentAway, Conversation, ask
from swarmkeep.shim.settings import Settings

from .conftest import Agent


def test_understands_an_answer_that_comes_in_pieces(settings: Settings, agent: Agent) -> None:
    agent.script = lambda _: [b'{"wait":', b'"x"}\n{"do"', b':"fresh"}\n']
    opened, answer = ask(settings.socket, {"op": "create"}, time.monotonic())
    opened.close()
    assert answer == {"do": "fresh"}


@pytest.mark.parametrize("answer", [b"\xff\n", b"[]\n", b"null\n", b"x" * 200_000])
def test_takes_nonsense_for_an_agent_that_is_away(settings: Settings, agent: Agent, answer: bytes) -> None:
    agent.script = lambda _: [answer]
    with pytest.raises(AgentAway):
        ask(settings.socket, {"op": "create"}, time.monotonic())


def test_gives_up_an_agent_that_falls_silent(settings: Settings, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SILENCE_S", 0.2)
    agent.script = lambda _: [{"wait": "x"}, None, {"do": "fresh"}]
    opened = Conversation(settings.socket)
    opened.say({"op": "create"})
    with pytest.raises(AgentAway, match="said nothing"):
        opened.answer()
    opened.close()


def test_waits_for_an_agent_that_comes_back_in_time(settings: Settings) -> None:
    started: list[Agent] = []
    timer = threading.Timer(0.3, lambda: started.append(Agent(Path(settings.socket))))
    timer.start()
    opened, answer = ask(settings.socket, {"op": "create"}, time.monotonic() + 5)
    opened.close()
    timer.join()
    started[0].close()
    assert answer == {"do": "fresh"}
