"""One call of the runtime from its words to its end: handled here, or given to runc unchanged. Called by __main__."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

from swarmkeep.shim.arguments import Call, parse_call
from swarmkeep.shim.create import Refused, create, note_cold_start
from swarmkeep.shim.settings import load_settings
from swarmkeep.shim.stop import delete, kill


def handle(words: list[str]) -> int | None:
    """Returns the exit code, or None when the call is runc's.

    May raise anything as long as nothing was promised: the caller then gives the call to runc. A refusal is a promise.
    """
    settings = load_settings()
    call = parse_call(words)
    if call.command == "create":
        try:
            return create(call, settings)
        except Refused as refusal:
            report(call, f"swarmkeep: {refusal}")
            return 1
        except Exception as error:
            with contextlib.suppress(OSError):
                note_cold_start(call, settings, "ShimFailed", repr(error))
            raise
    if call.command == "kill":
        return kill(call, settings)
    if call.command == "delete":
        delete(call, settings)
    return None


def report(call: Call, text: str) -> None:
    """Says why a create failed, where Docker looks: in the runtime's log, or on standard error when there is none."""
    path = call.options.get("log")
    if not path:
        print(text, file=sys.stderr)
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if call.options.get("log-format") == "json":
        line = json.dumps({"level": "error", "msg": text, "time": now})
    else:
        line = f'time="{now}" level=error msg={json.dumps(text)}'
    # No buffering and no truncation: Docker may be reading already.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode() + b"\n")
    finally:
        os.close(handle)
