"""`kill` and `delete`: a last version instead of the stop signal, and tidying up. Called by the shim's entry."""

from __future__ import annotations

import shutil
import signal
import time

from swarmkeep.shim.arguments import Call
from swarmkeep.shim.conversation import AgentAway, ask
from swarmkeep.shim.labels import Container, matching, read_container, read_selectors
from swarmkeep.shim.restore import end_page_server, forget_work
from swarmkeep.shim.settings import Settings


def kill(call: Call, settings: Settings) -> int | None:
    """Returns 0 when the agent has ended the process with a final version; None when runc has to deliver the signal."""
    container = read_container(settings.docker_root, call.container_id)
    if container is None or not matching(container, read_selectors(settings.selectors)):
        return None
    number = signal_number(call.operands[1] if len(call.operands) > 1 else "TERM")
    if number is None or number != _stop_signal(container) or number == signal.SIGKILL:
        return None
    question = {"op": "kill", "id": call.container_id, "signal": number}
    try:
        # An agent that is away cannot take a version, and a stop does not wait for it.
        conversation, answer = ask(settings.socket, question, time.monotonic())
        conversation.close()
    except AgentAway:
        return None
    return 0 if answer.get("do") == "handled" else None


def delete(call: Call, settings: Settings) -> None:
    """Ends the server of lazy pages, should it still run, and forgets the container; runc then does the rest."""
    end_page_server(settings, call.container_id)
    forget_work(settings, call.container_id)
    shutil.rmtree(settings.container_dir(call.container_id), ignore_errors=True)


def signal_number(word: str) -> int | None:
    """A signal as Docker and runc write it: `15`, `TERM` or `SIGTERM`; None for anything else."""
    if word.isdecimal():
        return int(word)
    name = word.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return int(signal.Signals[name])
    except KeyError:
        return None


def _stop_signal(container: Container) -> int:
    """The signal that means stop; any other, as in `docker kill -s HUP`, is the application's own business."""
    return (signal_number(container.stop_signal) if container.stop_signal else None) or int(signal.SIGTERM)
