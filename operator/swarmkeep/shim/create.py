"""`create`: fresh, restored or refused, as the agent says. Called by entry for what may be protected."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from swarmkeep.shim.arguments import Call
from swarmkeep.shim.conversation import AgentAway, Conversation, ask
from swarmkeep.shim.labels import Selector, matching, read_container, read_selectors, when_away
from swarmkeep.shim.restore import RestoreFailed, prepare_fresh, restore
from swarmkeep.shim.settings import Settings

UNSURE = Selector("unreadable", "", False, 2.0)
"""Stands for the selector of a container that the shim cannot see into: only the agent knows."""


class Refused(Exception):
    """The container must not start; the text is for the user."""


def create(call: Call, settings: Settings) -> int | None:
    """Returns the exit code, or None when runc has to create the container as ever.

    Raises Refused, also for whatever breaks over a container that has to be held; anything else means that it may
    start without the shim.
    """
    matched = _matched(call, settings)
    if not matched:
        return None
    hold, limit_s = when_away(matched)
    try:
        return _ask(call, settings, hold, limit_s)
    except Refused:
        raise
    except Exception as error:
        if not hold:
            raise
        raise Refused(
            f"this container is protected by SwarmKeep and must not start unasked, and its runtime failed: {error!r}"
        ) from error


def _ask(call: Call, settings: Settings, hold: bool, limit_s: float) -> int | None:
    """`create` for a container that a selector means."""
    deadline = time.monotonic() + limit_s
    question = {
        "op": "create",
        "id": call.container_id,
        "bundle": os.path.abspath(call.bundle),
        "root": call.root,
    }
    while True:
        conversation = None
        try:
            conversation, answer = ask(settings.socket, question, deadline)
            return _obey(call, settings, conversation, answer)
        except AgentAway as error:
            if time.monotonic() < deadline:
                continue
            reason = f"{error} (waited {limit_s:g} s)"
            if hold:
                raise Refused(
                    f"this container is protected by SwarmKeep and must not start unasked: {reason}"
                ) from error
            note_cold_start(call, settings, "AgentAway", reason)
            return None
        finally:
            if conversation is not None:
                conversation.close()


def _matched(call: Call, settings: Settings) -> list[Selector]:
    selectors = read_selectors(settings.selectors)
    if not selectors:
        return []
    try:
        container = read_container(settings.docker_root, call.container_id)
    except (OSError, ValueError):
        return [UNSURE]
    if container is None:
        # Docker keeps its runtime state under .../moby: a container there without a record means another data root.
        return [UNSURE] if os.path.basename(call.root.rstrip("/")) == "moby" else []
    return matching(container, selectors)


def _obey(call: Call, settings: Settings, conversation: Conversation, answer: dict[str, Any]) -> int | None:
    """Does what the agent says, and tells it how that went, until the container runs or must not. Raises AgentAway."""
    attempts = 0
    while True:
        do = answer.get("do")
        if do == "fresh":
            with contextlib.suppress(OSError, ValueError):  # only a convenience for later versions
                prepare_fresh(call, settings)
            return None
        if do == "refuse":
            raise Refused(str(answer.get("message") or "the agent refused without a reason"))
        if do != "restore":
            raise AgentAway(f"the agent answered {do!r}, which this runtime does not know: bring both to one version")
        attempts += 1
        if attempts > 20:
            raise Refused("20 versions in a row could not be restored")
        try:
            seconds = restore(call, settings, answer)
        except RestoreFailed as error:
            conversation.say({"outcome": "failed", "error": str(error)[:8000]})
            answer = conversation.answer()
            continue
        _write_restored(call, settings, seconds)
        try:
            conversation.say({"outcome": "restored", "seconds": round(seconds, 4), "error": ""})
            conversation.answer()
        except AgentAway:
            # It runs; the agent sees that itself when it is back.
            pass
        return 0


def _write_restored(call: Call, settings: Settings, seconds: float) -> None:
    """Marks that the `start` that follows has nothing to do."""
    path = os.path.join(settings.container_dir(call.container_id), "restored")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"seconds": round(seconds, 4)}, file)


def note_cold_start(call: Call, settings: Settings, reason: str, message: str) -> None:
    """Leaves word for the agent: it reports that a protected container started from nothing, and why."""
    note = {"id": call.container_id, "at": time.time(), "reason": reason, "message": message[:2000]}
    line = json.dumps(note, separators=(",", ":")) + "\n"
    os.makedirs(settings.state_dir, exist_ok=True)
    with open(settings.cold_starts, "a", encoding="utf-8") as file:
        file.write(line)
