"""`swarmkeep import`: makes Checkpoint objects again out of the manifests in a location.

Only nodes reach storage: this leaves a wish on the StorageLocation (`spec.import`), the operator gives it to a node,
and that node's agent makes the objects and answers in `status.imported`.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

POLL_S = 0.5
LATE_EXIT = 3
"""It was not done in time, or ended before its time."""


def import_(
    location: Annotated[str, typer.Option("--location", help="The StorageLocation to read.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt/--no-adopt", help="Let services made anew under the same names go on from them.")
    ] = True,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait; 0s is for ever.")] = "10m",
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Makes the Checkpoint objects of a location again: after etcd was lost, or for a new Swarm.

    What has an object already stays as it is, so it may be repeated. Ends with 1 when some versions could not be
    imported, with 3 when it was not done in time.

    Example: swarmkeep import --location main --dry-run
    """
    from swarmkeep.model.quantity import parse_duration

    limit_s = parse_duration(timeout).total_seconds()

    async def work(session: Session) -> int:
        from datetime import UTC, datetime

        from swarmkeep.model.kinds import LOCATION
        from swarmkeep.model.wire import format_time

        # The instant tells this wish from all others, whatever the clocks of nodes say.
        requested_at = format_time(datetime.now(UTC))
        wish = {"requestedAt": requested_at, "dryRun": dry_run, "adopt": adopt}
        await session.client.patch(LOCATION, location, {"spec": {"import": wish}})
        answer, waits_for = await _await_answer(session, location, requested_at, limit_s)
        if answer is None:
            print(f"error: timed out: {waits_for}; the wish stays, see status.imported", file=sys.stderr)
            return LATE_EXIT
        return tell(answer)

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _await_answer(
    session: Session, location: str, requested_at: str, limit_s: float
) -> tuple[dict[str, Any] | None, str]:
    """The answer to this wish; None, and what it waits for, when there is none in time."""
    import asyncio
    import time

    from swarmkeep.model.kinds import LOCATION

    begun = time.monotonic()
    while True:
        status = (await session.client.get(LOCATION, location)).get("status") or {}
        answer = status.get("imported") or {}
        if answer.get("requestedAt") == requested_at:
            return answer, ""
        if limit_s and time.monotonic() - begun > limit_s:
            order = status.get("import") or {}
            where = f"{order['node']} is at it" if order.get("node") else "no operator has given it to a node"
            return None, str(order.get("message") or where)
        await asyncio.sleep(POLL_S)


def tell(answer: dict[str, Any]) -> int:
    """Prints what was made; returns the exit code."""
    from swarmkeep.cli.printing import Columns, cell_text

    is_dry = bool(answer.get("dryRun"))
    workloads = answer.get("workloads") or []
    if workloads:
        columns = Columns(["WORKLOAD", "VERSIONS", "NEWEST", "WOULD-MAKE" if is_dry else "MADE"])
        columns.print(
            [[cell_text(row.get(key)) for key in ("workload", "versions", "newest", "made")] for row in workloads]
        )
    made = f"{answer.get('made', 0)} {'would be' if is_dry else 'were'} made"
    print(f"{answer.get('found', 0)} versions found, {answer.get('known', 0)} known already, {made}")
    for each in answer.get("problems") or ():
        print(f"error: {cell_text(each.get('version'))}: {cell_text(each.get('problem'))}", file=sys.stderr)
    if answer.get("trouble"):
        print(f"error: ended before its time: {cell_text(answer['trouble'])}", file=sys.stderr)
        return LATE_EXIT
    return 1 if answer.get("failed") else 0
