"""A real dump and a real restore of a workload, for `swarmkeep doctor --try`: one object asks for both.

The Checkpoint says `trial`: the operator gives it to the workload's node, whose agent dumps the workload, restores the
dump in isolation and throws it away. It never becomes a version. The object goes when its result was read.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarmkeep.kube.client import Client
    from swarmkeep.plan.findings import Finding

POLL_S = 0.5


async def try_workload(client: Client, namespace: str, name: str, limit_s: float) -> Finding:
    """What came of it, as one more finding. Raises SwarmKeepError when the API does not take it."""
    from swarmkeep.errors import NotFound
    from swarmkeep.model.kinds import CHECKPOINT

    trial = f"{name}-try-{secrets.token_hex(4)}"
    spec = {"workload": name, "reason": "OnDemand", "trial": True}
    await client.create(CHECKPOINT, {"metadata": {"name": trial, "namespace": namespace}, "spec": spec}, namespace)
    obj: dict[str, Any] = {}
    try:
        async with asyncio.timeout(limit_s or None):
            while True:
                obj = await client.get(CHECKPOINT, trial, namespace)
                if (obj.get("status") or {}).get("phase") in ("Tried", "Failed"):
                    break
                await asyncio.sleep(POLL_S)
    except (TimeoutError, NotFound):
        pass
    finally:
        with contextlib.suppress(NotFound):
            await client.delete(CHECKPOINT, trial, namespace)
    return judge_trial(obj)


def judge_trial(obj: dict[str, Any]) -> Finding:
    """What the object of a trial says now."""
    from swarmkeep.plan.findings import note, problem, warning

    status = obj.get("status") or {}
    tried, message = status.get("trial") or {}, str(status.get("message") or "")
    if status.get("phase") not in ("Tried", "Failed"):
        where = f"{status['node']} has it" if status.get("node") else "no node has it: is an operator running?"
        text = f"it was not tried in time ({where})"
        return warning("TrialTimedOut", text, "wait longer with --timeout, and look at that node's agent")
    frozen = f" (it stood still for {status['frozenSeconds']:g} s)" if "frozenSeconds" in status else ""
    if not tried:
        return problem("DumpFailed", f"it cannot be dumped: {message}", "see to what the message says, and try again")
    if tried["result"] == "Passed":
        return note("Restorable", f"dumped{frozen} and restored on {tried['node']}: {tried['message']}")
    if tried["result"] == "Failed":
        text = f"dumped{frozen}, and not restored on {tried['node']}: {tried['message']}"
        return problem("RestoreFailed", text, "its versions would not come up: see to what the message says")
    text = f"dumped{frozen}; whether it can be restored is not known: {tried['message']}"
    return warning("CannotBeTried", text, "what a trial cannot have is in docs/verification.md")
