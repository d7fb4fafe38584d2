"""Talks to the agent: one connection for each call, one JSON object on each line, every wait limited."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

SILENCE_S = 5.0
"""The agent says something at least every 2 s; after this long without a word it counts as dead."""
RETRY_S = 0.1
LINE_LIMIT = 64 * 1024


class AgentAway(Exception):
    """No agent answers, or it went away in the middle of the conversation."""


class Conversation:
    """One open connection to the agent."""

    def __init__(self, path: str) -> None:
        """Connects. Raises AgentAway."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(SILENCE_S)
        self._buffer = b""
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise AgentAway(f"no agent answers at {path}: {error.strerror}") from error

    def say(self, message: dict[str, Any]) -> None:
        """Sends one line. Raises AgentAway."""
        try:
            self._socket.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise AgentAway(f"the agent went away: {error.strerror}") from error

    def answer(self) -> dict[str, Any]:
        """The next line that is no `wait`. Raises AgentAway, also for a line that is no JSON object."""
        while True:
            message = self._read()
            if "wait" not in message:
                return message

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            if len(self._buffer) > LINE_LIMIT:
                raise AgentAway("the agent answered with a line that has no end")
            try:
                data = self._socket.recv(LINE_LIMIT)
            except OSError as error:
                raise AgentAway(f"the agent said nothing for {SILENCE_S:g} s") from error
            if not data:
                raise AgentAway("the agent closed the connection before it had answered")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError as error:
            raise AgentAway("the agent answered with something that is no JSON") from error
        if not isinstance(message, dict):
            raise AgentAway("the agent answered with something that is no JSON object")
        return message


def ask(path: str, question: dict[str, Any], deadline: float) -> tuple[Conversation, dict[str, Any]]:
    """Puts a question until somebody answers it. Returns the open conversation and the first answer.

    `deadline` is on the monotonic clock and limits only how long no agent answers: an agent that lives and says `wait`
    has a limit of its own. Raises AgentAway with the last reason.
    """
    while True:
        try:
            conversation = Conversation(path)
            try:
                conversation.say(question)
                return conversation, conversation.answer()
            except AgentAway:
                conversation.close()
                raise
        except AgentAway:
            if time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_S)
